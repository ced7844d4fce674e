"""`python -m reconciler.sandbox serve|stop|status --home DIR`: the entry point that starters and people call.

Exit codes: 0 done (a second `serve` on a served home too), 1 failed, 64 usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import logging.handlers
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from reconciler.errors import ReconcilerError, UnreachableError
from reconciler.sandbox import processes
from reconciler.sandbox.asking import ask
from reconciler.sandbox.processes import ProcessRecord

_STOP_WITHIN = 15.0
_LOG_SIZE = 5 * 1024 * 1024


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m reconciler.sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "serve every sandbox cluster of a home, in the foreground"),
        ("stop", "end the server of a home in order"),
        ("status", "say whether a home is served, and which clusters it has"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--home", type=Path, required=True, help="the folder that holds everything")
        if name == "serve":
            command.add_argument(
                "--idle-exit",
                type=float,
                default=0.0,
                metavar="SECONDS",
                help="end after that long without a request (default: never)",
            )
        if name == "status":
            command.add_argument("-o", "--output", choices=("text", "json"), default="text")
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as error:
        return 64 if error.code else 0
    home: Path = parsed.home.absolute()
    try:
        if parsed.command == "serve":
            return _serve(home, parsed.idle_exit)
        return _stop(home) if parsed.command == "stop" else _status(home, as_json=parsed.output == "json")
    except ReconcilerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        return 1


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)  # noqa: T201 - the command's own output


def _serve(home: Path, idle_exit: float) -> int:
    from reconciler.sandbox.service import AlreadyRunningError, Service  # noqa: PLC0415 - brings uvicorn, `stop` needs none

    folder = processes.folder_of(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.umask(0o077)
    log = logging.handlers.RotatingFileHandler(folder / "serve.log", maxBytes=_LOG_SIZE, backupCount=2, delay=True)
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[log])
    for noisy in ("uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    async def serve() -> None:
        await Service(home, idle_exit).run()

    try:
        asyncio.run(serve())
    except AlreadyRunningError as error:
        _say(error.message)
    except ReconcilerError:
        logging.getLogger(__name__).exception("the sandbox cannot be served")
        raise
    finally:
        log.close()
    return 0


def _running(home: Path) -> ProcessRecord | None:
    record = processes.read_record(processes.folder_of(home) / "process.json")
    return record if record is not None and record.is_alive() else None


def _stop(home: Path) -> int:
    record = _running(home)
    if record is None:
        _say(f"the sandbox of {home} is not running")
        return 0
    try:
        ask(home, "POST", "/shutdown")
    except UnreachableError:
        _send(record, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN
    while record.is_alive():
        if time.monotonic() > deadline:
            _send(record, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.02)
    _say(f"the sandbox of {home} has ended (process {record.pid})")
    return 0


def _send(record: ProcessRecord, number: signal.Signals) -> None:
    if record.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)


def _status(home: Path, *, as_json: bool) -> int:
    record = _running(home)
    clusters: list[dict[str, Any]] = []
    if record is not None:
        clusters = ask(home, "GET", "/clusters")[1]["clusters"]
    kept = ("name", "state", "version", "server", "servers", "agents", "uid", "createdAt", "message")
    shown = [{key: one[key] for key in kept if key in one} for one in clusters]
    if as_json:
        running = {"running": record is not None, "pid": record.pid if record else None}
        _say(json.dumps({**running, "clusters": shown}, indent=2))
        return 0
    if record is None:
        _say(f"the sandbox of {home} is not running")
        return 0
    _say(f"process {record.pid} since {record.startedAt}, version {record.version}")
    for one in shown:
        trouble = f"  {one['message']}" if "message" in one else ""
        _say(f"{one['name']:<24} {one['state']:<8} {one['version']:<9} {one['server']}{trouble}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
