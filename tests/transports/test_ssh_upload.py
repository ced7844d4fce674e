"""Uploads to a host: sent once, gone on with after a cut, and never in place unless they are what they should be."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from git_servers import SSHD, ssh_server
from git_servers import Ssh as Sshd
from ssh_ground import place_on, sessions_of, signal_all

from reconciler.errors import DeadlineError, TerminalError, TransientError
from reconciler.transports.ssh import Ssh
from reconciler.transports.ssh_upload import Upload, Uploaded

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")
SIZE = 8_000_000


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with ssh_server(tmp_path_factory.mktemp("upload") / "sshd") as server:
        yield server


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "app.tar"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def host(sshd: Sshd) -> Iterator[Ssh]:
    with Ssh(place_on(sshd)) as found:
        yield found


def nothing(_percent: float) -> None:
    """Nobody wants to know."""


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put(
    host: Ssh,
    source: Path,
    to: Path,
    *,
    progress: Callable[[float], None] = nothing,
    become: tuple[str, ...] = (),
    sha256: str = "",
    timeout: float = 60.0,
) -> Uploaded:
    upload = Upload(source, str(to), sha256 or sum_of(source))
    return upload.send(host, become=become, progress=progress, sleep=time.sleep, timeout=timeout)


def at(percent: float, do: Callable[[], None]) -> Callable[[float], None]:
    """Something that happens once, when so much was sent."""
    happened = threading.Event()

    def progress(reached: float) -> None:
        if reached >= percent and not happened.is_set():
            happened.set()
            do()

    return progress


def test_a_file_is_sent_once_and_is_in_place_as_it_was(host: Ssh, source: Path, tmp_path: Path) -> None:
    to = tmp_path / "new folder" / 'it\'s $HOME; `id` "x"\n.tar'
    became = tmp_path / "became"
    become = ("/bin/sh", "-c", f'echo "$1" >>{became}; exec "$@"', "become")
    heard: list[float] = []
    assert put(host, source, to, become=become, progress=heard.append) == Uploaded(SIZE, 0, was_there=False)
    assert sum_of(to) == sum_of(source)
    assert to.stat().st_mode & 0o777 == 0o644
    assert heard == sorted(heard)
    assert heard[-1] == 100.0
    assert put(host, source, to, become=become) == Uploaded(0, 0, was_there=True)
    assert set(became.read_text().split()) == {"/bin/sh"}
    assert [one.name for one in to.parent.iterdir()] == [to.name]


def test_a_program_stays_one_and_an_older_file_is_replaced_in_one_move(host: Ssh, tmp_path: Path) -> None:
    program, to = tmp_path / "tool", tmp_path / "bin" / "tool"
    program.write_text("#!/bin/sh\necho new\n")
    program.chmod(0o700)
    to.parent.mkdir()
    (tmp_path / "elsewhere").write_text("old")
    to.symlink_to(tmp_path / "elsewhere")
    put(host, program, to)
    assert subprocess.run([to], capture_output=True, text=True, check=True).stdout == "new\n"
    assert to.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "elsewhere").read_text() == "old"


def test_an_empty_file_is_a_file(host: Ssh, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert put(host, tmp_path / "empty", tmp_path / "there").sent == 0
    assert (tmp_path / "there").read_bytes() == b""


def test_a_cut_connection_is_made_again_and_the_rest_is_sent(host: Ssh, source: Path, tmp_path: Path) -> None:
    sessions = sessions_of(host)
    to = tmp_path / "app.tar"
    done = put(host, source, to, progress=at(50, lambda: signal_all(sessions, signal.SIGKILL)))
    assert sum_of(to) == sum_of(source)
    assert SIZE <= done.sent < 1.6 * SIZE


def test_whoever_comes_after_a_death_sends_the_rest(host: Ssh, source: Path, sshd: Sshd, tmp_path: Path) -> None:
    class DiedError(Exception):
        """Stands for a process that is gone: nothing of it runs on."""

    def die() -> None:
        raise DiedError

    to = tmp_path / "app.tar"
    to.write_text("the version before")
    with Ssh(place_on(sshd)) as first, pytest.raises(DiedError):
        put(first, source, to, progress=at(50, die))
    assert to.read_text() == "the version before"
    done = put(host, source, to)
    assert sum_of(to) == sum_of(source)
    assert 0 < done.resumed_at < SIZE
    assert done.sent == SIZE - done.resumed_at


@pytest.mark.parametrize("size", [1000, SIZE, SIZE + 1])
def test_a_beginning_that_is_something_else_is_not_gone_on_with(
    host: Ssh, source: Path, tmp_path: Path, size: int
) -> None:
    to = tmp_path / "app.tar"
    (tmp_path / f".reconciler-{sum_of(source)}.part").write_bytes(b"x" * size)
    assert put(host, source, to) == Uploaded(SIZE, 0, was_there=False)
    assert sum_of(to) == sum_of(source)


def test_a_whole_file_that_was_not_moved_yet_is_not_sent_again(host: Ssh, source: Path, tmp_path: Path) -> None:
    (tmp_path / f".reconciler-{sum_of(source)}.part").write_bytes(source.read_bytes())
    assert put(host, source, tmp_path / "app.tar") == Uploaded(0, SIZE, was_there=False)
    assert sum_of(tmp_path / "app.tar") == sum_of(source)


def test_what_is_not_what_it_should_be_is_not_sent_or_not_kept(host: Ssh, source: Path, tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="nothing was uploaded"):
        put(host, source, tmp_path / "to", sha256="0" * 64)
    with pytest.raises(TerminalError, match="cannot be read"):
        put(host, tmp_path / "no", tmp_path / "to", sha256="0" * 64)
    changing = tmp_path / "changing"
    changing.write_bytes(source.read_bytes())
    wanted = sum_of(changing)

    def change(_percent: float) -> None:
        with changing.open("r+b") as file:
            file.seek(SIZE - 5)
            file.write(b"other")

    with pytest.raises(TerminalError) as caught:
        put(host, changing, tmp_path / "to", sha256=wanted, progress=change)
    assert caught.value.reason == "WrongSum"
    assert [one.name for one in tmp_path.iterdir()] == ["changing"]


def test_somebody_who_appends_meanwhile_spoils_nothing(host: Ssh, source: Path, tmp_path: Path) -> None:
    part = tmp_path / f".reconciler-{sum_of(source)}.part"

    def append() -> None:
        with part.open("ab") as file:
            file.write(b"from a connection that was cut long ago")

    put(host, source, tmp_path / "app.tar", progress=at(50, append))
    assert sum_of(tmp_path / "app.tar") == sum_of(source)


def test_where_nothing_can_be_written_is_said(host: Ssh, source: Path, tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="is a folder"):
        put(host, source, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(TerminalError, match=r"Not a directory|File exists"):
        put(host, source, tmp_path / "file" / "app.tar")
    with pytest.raises(TerminalError, match="cannot be written"):
        put(host, source, Path("/proc/reconciler/app.tar"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_said_and_left_as_it_was(host: Ssh, source: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", small], check=True)
    try:
        (small / "theirs").write_bytes(b"x" * 5_000_000)
        with pytest.raises(TransientError, match=r"needs 8.0 MB, and there is room for [67] MB") as caught:
            put(host, source, small / "app.tar")
        assert caught.value.reason == "DiskFull"
        (small / "theirs").unlink()
        filling = at(50, lambda: (small / "theirs").write_bytes(b"x" * 7_000_000) and None)
        with pytest.raises(TransientError) as caught:
            put(host, source, small / "app.tar", progress=filling)
        assert caught.value.reason == "DiskFull"
        assert [one.name for one in small.iterdir()] == ["theirs"]
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        with pytest.raises(TerminalError, match="Read-only file system"):
            put(host, source, small / "new" / "app.tar")
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_host_that_stops_taking_it_is_not_waited_for_beyond_the_deadline(
    host: Ssh, source: Path, tmp_path: Path
) -> None:
    sessions = sessions_of(host)
    started = time.monotonic()
    try:
        with pytest.raises(DeadlineError):
            put(
                host,
                source,
                tmp_path / "app.tar",
                timeout=2.0,
                progress=at(20, lambda: signal_all(sessions, signal.SIGSTOP)),
            )
        assert time.monotonic() - started < 15
    finally:
        signal_all(sessions, signal.SIGCONT)
    assert not (tmp_path / "app.tar").exists()
