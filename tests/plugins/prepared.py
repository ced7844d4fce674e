"""What every home makes for itself the first time, made once for all homes of a test process.

A store at the newest schema, and the schemas of the sandbox's types: two seconds of a processor each time otherwise.
Tests that are about a first time take it out again, or begin with a home that has neither.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_DERIVE = "import asyncio, sys; from pathlib import Path; from reconciler.sandbox.catalog import Catalog\n"
_DERIVE += "asyncio.run(Catalog(Path(sys.argv[1])).ready())"


def put_store(home: Path, *plugins: str) -> None:
    """An empty store, also for the kinds of these plugins."""
    shutil.copy(_store(*plugins), home / "reconciler.db")


def put_schemas(home: Path) -> None:
    """The sandbox's schemas, as they lie there after its first start."""
    folder = home / "sandbox"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    schemas = _schemas()
    os.link(schemas, folder / schemas.name)


@cache
def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="prepared-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def _store(*plugins: str) -> Path:
    from reconciler.kinds import discover
    from reconciler.store.schema import open_database

    path = _folder() / f"{'-'.join(('reconciler', *plugins))}.db"
    folders = [package.folder for package in discover(plugins).packages.values()]
    open_database(f"sqlite:///{path}", folders).close()
    path.chmod(0o600)
    return path


@cache
def _schemas() -> Path:
    subprocess.run([sys.executable, "-c", _DERIVE, _folder()], check=True, timeout=120)
    return next(_folder().glob("schemas-*.json"))
