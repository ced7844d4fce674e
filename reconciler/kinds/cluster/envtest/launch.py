"""A process becoming a component: `python -I -S launch.py FOLDER NAME LOG_BYTES PROGRAM [ARGUMENT…]`.

Run by `processes`, in a session of its own. It takes the lock of the component, which the kernel then holds as long as
the component lives, so that there are never two; writes down who it is; starts a small child that keeps the log within
its bound; and turns into the program, by which its process id and start time stay the same. Killed anywhere on the way
it leaves nothing that runs and nothing that is locked. Standard library only, and little of it: this is start-up time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys

_CHUNK = 65536


def main() -> None:
    """Become the component. Exits with 3 when it runs already, and with 4 when there is no folder for it any more."""
    folder, name, log_bytes, *command = sys.argv[1:]
    os.umask(0o077)
    _take_lock(f"{folder}/run/{name}.lock")
    log = f"{folder}/logs/{name}.log"
    ours, theirs = os.pipe()
    if os.fork() == 0:
        try:
            _keep_log(log, int(log_bytes), ours)
        finally:
            os._exit(0)
    for stream in (1, 2):
        os.dup2(theirs, stream)
    _write_identity(f"{folder}/run/{name}.json")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a program inherits that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606 - the whole point
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error}")


def _take_lock(path: str) -> None:
    """Hold the component's lock from now on, whatever this process becomes."""
    try:
        lock = os.open(path, os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino != os.stat(path).st_ino:  # noqa: PTH116 - pathlib would double the start-up time
            raise FileNotFoundError(path)
    except BlockingIOError:
        print(f"{path} is held: it runs already", flush=True)  # noqa: T201 - into its log
        sys.exit(3)
    except OSError:  # the control plane was deleted meanwhile
        sys.exit(4)
    os.set_inheritable(lock, True)


def _write_identity(path: str) -> None:
    with open("/proc/self/stat") as stat:  # noqa: PTH123 - as above
        started = int(stat.read().rpartition(")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id") as boot:  # noqa: PTH123 - as above
        identity = {"pid": os.getpid(), "startTime": started, "bootId": boot.read().strip()}
    with open(f"{path}.new", "w") as file:  # noqa: PTH123 - as above
        json.dump(identity, file)
    os.replace(f"{path}.new", path)  # noqa: PTH105 - as above


def _keep_log(path: str, limit: int, source: int) -> None:
    """Write what comes into `path`, at most `limit` bytes; what was there before goes to `path`.1. Ends with its input.

    Signals to the group end the component, not this: its last words are wanted. A log that cannot be written is lost.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(3, source)
    os.closerange(source + 1, 64)
    for stream in (1, 2):
        os.dup2(0, stream)
    file = -1
    while chunk := os.read(source, _CHUNK):
        with contextlib.suppress(OSError):
            if file < 0:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(file, chunk)
            if os.fstat(file).st_size >= limit:
                os.replace(path, f"{path}.1")  # noqa: PTH105 - as above
                os.close(file)
                file = -1


if __name__ == "__main__":
    main()
