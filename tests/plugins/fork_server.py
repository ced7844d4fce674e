"""Runs commands of `reconciler` as processes that need not import it first: each is a fork of this one.

Started by `forking` as `fork_server.py SOCKET`. A connection brings stdin, stdout and stderr, and the rest as `{argv,
env, cwd, script}` (script: a Python file to run instead of the command line, or nothing). It is answered with the pid,
and with the exit code once there is one. A connection that is closed before takes its process with it. The server
ends with the process that holds its own stdin open.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

PACKAGES = (
    *(f"reconciler.{name}" for name in ("cli", "daemon", "engine", "kinds", "loading", "model", "planning", "store")),
    "reconciler.transports",
    "web",
)
MODULES = (
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "sqlalchemy.dialects.sqlite",
    "jsonschema_rs",
    "yaml",
    "rich.console",
    "rich.table",
    "rich.progress",
    "difflib",
)
_NO_PART = (".__main__", ".test_", ".harness", ".migrations", ".cases")


def preload() -> None:
    """Import what commands import."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part in found.name for part in _NO_PART):
                importlib.import_module(found.name)
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def serve(path: str) -> None:
    """Until nobody holds our stdin open any more."""
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(f"{path}.new")
        listener.listen(128)
        Path(f"{path}.new").rename(path)  # whoever sees it can connect
        selector.register(listener, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    kill_all(selector)
                    return
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    pid = begin(connection)
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
                    selector.register(connection, selectors.EVENT_READ, (pid, None))
                elif key.data[1] is None:  # whoever asked for it is gone
                    with suppress(KeyError, ValueError):  # it ended in this very moment
                        selector.unregister(key.fileobj)
                        os.kill(key.data[0], signal.SIGKILL)
                else:
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    with suppress(KeyError, ValueError):
                        selector.unregister(key.data[1])
                    end(*key.data)


def kill_all(selector: selectors.BaseSelector) -> None:
    """What was asked for does not outlive who asked."""
    for key in selector.get_map().values():
        if key.data is not None and key.data[1] is not None:
            with suppress(ProcessLookupError):
                os.kill(key.data[0], signal.SIGKILL)


def begin(connection: socket.socket) -> int:
    """Fork for one request; the pid."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("r") as stream:
        request = json.loads(stream.readline())
    pid = os.fork()
    if pid == 0:
        become(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(f"{pid}\n".encode())
    return pid


def end(pid: int, connection: socket.socket) -> None:
    """Say how a process ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with connection:
        try:
            connection.sendall(f"{code}\n".encode())
        except OSError:  # nobody waits for it any more
            return


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Be the command; never returns."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = paths
    if any(Path(path, "sitecustomize.py").exists() for path in paths):
        importlib.import_module("sitecustomize")
    sys.argv = request["argv"]
    if os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(os.environ["PYTHONWARNINGS"])  # type: ignore[arg-type]  # one word, as it is here
    random.seed()
    os._exit(_ran(request["script"]))


def _ran(script: str) -> int:
    """The exit code, once all that happens at the end of a process has happened."""
    from reconciler.cli.main import main

    code: Any = 0
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
        else:
            main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 120
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file: commands are not to find what lies here
    preload()
    serve(sys.argv[1])
