"""A file to a host, as whoever `become` makes us there (so not over SFTP): once, resumed after a cut, verified.

    FOLDER/.reconciler-SHA256.part     what has arrived so far, mode 0600, beside the destination

Whatever is there already is compared by its sum and not sent again, be it the whole file or the beginning of it. The
destination changes in one move, after the host itself has found the sum to be right; it is executable when the source
is. Called by kinds.
"""

from __future__ import annotations

import hashlib
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reconciler.errors import DeadlineError, ReconcilerError, TerminalError, TransientError, UnreachableError
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh

_CHUNK = 1 << 18
_AGAIN_AFTER = 1.0
_MOVED_ON, _WRONG_SUM, _IS_FOLDER, _NO_ROOM = 75, 76, 77, 78
_COMMON = f"""LC_ALL=C; export LC_ALL; umask 022
to=$1 sum=$2 size=$3 folder=$(dirname -- "$1")
part=$folder/.reconciler-$sum.part
sum_of() {{ {{ openssl dgst -sha256 -r <"$1" 2>/dev/null || sha256sum <"$1"; }} | cut -d ' ' -f 1; }}
size_of() {{ if test -f "$1"; then echo $(($(wc -c <"$1"))); else echo 0; fi; }}
if test -d "$to"; then exit {_IS_FOLDER}; fi
"""
"""$1: destination, $2: its sum, $3: its size. openssl is asked first because it is five times as fast."""
_LOOK = f"""
if test "$(size_of "$to")" = "$size" && test "$(sum_of "$to")" = "$sum"; then echo there; exit; fi
mkdir -p -- "$folder" || exit 1
have=$(size_of "$part")
free=$(df -Pk -- "$folder" | awk 'NR == 2 {{ print $4 }}')
if test $((have + ${{free:-0}} * 1024)) -lt "$size"; then echo "$((${{free:-0}} / 1024))"; exit {_NO_ROOM}; fi
if test "$have" -gt 0; then echo "$have $(sum_of "$part")"; else echo 0; fi
"""
_APPEND = f"""
umask 077
if test "$4" = 0; then rm -f -- "$part"
elif test "$(size_of "$part")" != "$4"; then exit {_MOVED_ON}
fi
cat >>"$part" || {{ rm -f -- "$part"; exit 1; }}
"""
_FINISH = f"""
if test "$(sum_of "$part")" != "$sum"; then rm -f -- "$part"; exit {_WRONG_SUM}; fi
chmod "$4" "$part" && mv -fT -- "$part" "$to" || exit 1
find "$folder" -maxdepth 1 -name '.reconciler-*.part' -mtime +6 -exec rm -f {{}} + 2>/dev/null
exit 0
"""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """sent: bytes, in all tries. resumed_at: of which byte the first of them went on. was_there: nothing was needed."""

    sent: int
    resumed_at: int
    was_there: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """A file here, and where it is to be there. destination: an absolute path. sha256: what the file has to have."""

    source: Path
    destination: str
    sha256: str

    def send(
        self,
        ssh: Ssh,
        *,
        become: tuple[str, ...] = (),
        progress: Callable[[float], None],
        sleep: Callable[[float], None],
        timeout: float,
    ) -> Uploaded:
        """Make sure that it is there.

        become: words before a command that make it root. progress: told percent as they are sent. sleep: waits, or
        raises. timeout: seconds, for all of it. A connection that is cut on the way is made again and the rest is sent;
        a host that does not answer then is UnreachableError, and calling once more goes on. Raises DeadlineError,
        TransientError("DiskFull"), TerminalError ("BadArtifact": it is not what it should be here, "NotWritable",
        "WrongSum").
        """
        size, mode = _checked(self.source, self.sha256)
        words = [self.destination, self.sha256, str(size)]
        sending = _Sending(ssh, become, words, time.monotonic() + timeout)
        first: int | None = None
        restarted = False
        while True:
            offset = sending.look(self.source, size)
            if offset is None:
                progress(100.0)
                return Uploaded(sending.sent, first or 0, was_there=first is None)
            first = offset if first is None else first
            before = sending.sent
            try:
                if sending.send(self.source, offset, size, progress):
                    if sending.finish(mode):
                        progress(100.0)
                        return Uploaded(sending.sent, first, was_there=False)
                    if restarted:
                        message = f"{ssh.place}: what arrived as {self.destination} is not what was sent"
                        raise TerminalError("WrongSum", message)
                    restarted = True
            except UnreachableError:
                if sending.sent == before:
                    raise
                sleep(_AGAIN_AFTER)


def _checked(source: Path, sha256: str) -> tuple[int, str]:
    """Size and mode that it is to have there. Raises TerminalError("BadArtifact")."""
    try:
        with source.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            status = source.stat()
    except OSError as error:
        raise TerminalError("BadArtifact", f"{source} cannot be read: {error.strerror or error}") from error
    if found != sha256:
        raise TerminalError("BadArtifact", f"{source} has the SHA-256 {found}, and not {sha256}: nothing was uploaded")
    return status.st_size, "0755" if status.st_mode & stat.S_IXUSR else "0644"


@dataclass(slots=True)
class _Sending:
    """The talk with the host. words: destination, sum and size. give_up: monotonic seconds. sent: bytes so far."""

    ssh: Ssh
    become: tuple[str, ...]
    words: list[str]
    give_up: float
    sent: int = 0

    def look(self, source: Path, size: int) -> int | None:
        """From which byte on it is needed, None when all of it is in place. What does not fit counts as nothing."""
        done = self._run(_LOOK)
        if done.returncode:
            raise self._refusal(done)
        words = done.stdout.split()
        if words == ["there"]:
            return None
        have = int(words[0])
        return have if 0 < have <= size and _sum_of_beginning(source, have) == words[1] else 0

    def send(self, source: Path, offset: int, size: int, progress: Callable[[float], None]) -> bool:
        """Append the rest. False when somebody else has appended meanwhile: then look again."""
        with source.open("rb") as file:
            file.seek(offset)
            done = self._run(_APPEND, str(offset), stdin=self._chunks(file, size, progress))
        if done.returncode not in (0, _MOVED_ON):
            raise self._refusal(done)
        return done.returncode == 0

    def finish(self, mode: str) -> bool:
        """Move it in place. False when it is not what it should be: then nothing of it is left."""
        done = self._run(_FINISH, mode)
        if done.returncode not in (0, _WRONG_SUM):
            raise self._refusal(done)
        return done.returncode == 0

    def _chunks(self, file: BinaryIO, size: int, progress: Callable[[float], None]) -> Iterator[bytes]:
        while chunk := file.read(_CHUNK):
            yield chunk
            self.sent += len(chunk)
            progress(min(100.0, 100.0 * file.tell() / max(size, 1)))

    def _run(self, script: str, *more: str, stdin: Iterator[bytes] | None = None) -> Completed:
        left = self.give_up - time.monotonic()
        if left <= 0:
            raise DeadlineError("Deadline", f"{self.ssh.place}: there was too little time to upload {self.words[0]}")
        command = [*self.become, "/bin/sh", "-c", _COMMON + script, "upload", *self.words, *more]
        return self.ssh.run(shlex.join(command), timeout=left, stdin=stdin)

    def _refusal(self, done: Completed) -> ReconcilerError:
        said, where = done.last_lines(2), f"{self.ssh.place}: {self.words[0]}"
        if done.returncode == _IS_FOLDER:
            return TerminalError("NotWritable", f"{where} is a folder")
        if done.returncode == _NO_ROOM:
            message = f"{where} needs {int(self.words[2]) / 1e6:.1f} MB, and there is room for {done.stdout.strip()} MB"
            return TransientError("DiskFull", message)
        if "No space left" in said or "quota exceeded" in said:
            return TransientError("DiskFull", f"{where}: the disk is full: {said}")
        return TerminalError("NotWritable", f"{where} cannot be written: {said or f'status {done.returncode}'}")


def _sum_of_beginning(source: Path, size: int) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while size > 0 and (chunk := file.read(min(_CHUNK, size))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()
