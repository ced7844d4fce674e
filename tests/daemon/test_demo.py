"""`make demo` in a clean clone, as a visitor would run it; only the virtual environment is lent to it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.lab import plain
from reconciler.lab.commands import missing
from tests.daemon.lab import ROOT, processes_of, until

DEADLINE = 240.0


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The committed tree in a folder of its own, with our environment instead of one that takes a minute to make."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True, timeout=60)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / ".stamps").mkdir()
    (folder / ".stamps" / "venv").touch()
    return folder


def demo(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make demo`. PYTHONPATH makes the lent environment use the clone's code."""
    home = clone.parent / "nobody"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "MAKE"))}
    return subprocess.run(
        ["make", "--no-print-directory", "demo", *arguments],
        cwd=clone,
        env={**kept, "PYTHONPATH": str(clone), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def everything_in(folder: Path) -> set[str]:
    """All but git's own files, and what Python keeps of any program that it runs."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if ".git/" not in name and "__pycache__" not in name}


def test_the_demo_converges_and_leaves_nothing_twice_in_a_row(clone: Path) -> None:
    before = everything_in(clone.parent)
    for _ in range(2):
        done = demo(clone, "ONCE=1", "PORT=0")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"serves http://127\.0\.0\.1:\d+", done.stdout)
        for name in ("devops", "dev", "prod"):
            assert f"Cluster/{name}: created and verified" in done.stdout
            assert re.search(rf"^cluster/{name} +: ok=0 +changed=\d+ +unreachable=0 +failed=0", done.stdout, re.M)
        assert "before: there    after the delete: gone" in done.stdout
        assert "there again after" in done.stdout
        assert 'history: update because spec.manifests["v1/ConfigMap/default/motd"] differs' in done.stdout
        if not missing(plain.TOOLS):
            assert "changed: updated and verified" in done.stdout
            assert re.search(r"asked \d+ times meanwhile, nobody served 0 times", done.stdout), done.stdout
        assert done.stderr == ""
        until(lambda: not processes_of(clone), lambda: processes_of(clone), 20)
    made = everything_in(clone.parent) - before
    assert {name for name in made if not name.startswith(("clone/.demo", "nobody"))} == set()
    assert list((clone.parent / "nobody").iterdir()) == []
    tracked = subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True)
    assert [line for line in tracked.stdout.splitlines() if ".venv" not in line] == []


def test_a_port_in_use_is_one_clear_line(clone: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = demo(clone, "ONCE=1", f"PORT={port}")
    assert done.returncode != 0
    told = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ")]
    assert "Traceback" not in done.stdout + done.stderr
    assert [line for line in told if str(port) in line] == [line for line in told if "error" in line]
    assert len([line for line in told if str(port) in line]) == 1, told
    until(lambda: not processes_of(clone), lambda: processes_of(clone), 20)
