"""`python -m web --home DIR [--port N]`: the page over an existing home, without a daemon. Reads only."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from reconciler.errors import ReconcilerError, UsageError
from reconciler.store.database import Database
from web.asgi import create_asgi_app
from web.server import serve
from web.settings import PageSettings


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m web", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder that holds reconciler.db")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes any that is free")
    chosen = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        _serve(chosen.home / "reconciler.db", chosen.host, chosen.port, stop)
    except ReconcilerError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _serve(path: Path, host: str, port: int, stop: threading.Event) -> None:
    if not path.is_file():
        raise UsageError("NoDatabase", f"there is no database at {path}")
    database = Database.at(path)
    try:
        served = serve(create_asgi_app(database, PageSettings(host=host)), host, port, stop)
        sys.stdout.write(f"{served.url}\n")
        sys.stdout.flush()
        stop.wait()
        served.join(10)
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
