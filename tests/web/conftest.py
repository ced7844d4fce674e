"""A store to show, a client that asks without a server, and servers on free ports."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filled_store import Filling, fill
from flask.testing import FlaskClient
from write_lab import TOKEN

from reconciler.engine.runtime import Runtime
from reconciler.engine.wiring import open_runtime
from reconciler.loading.settings import load_settings
from reconciler.store.database import Database
from tests.clusters.sandbox_lab import SandboxLab
from web.admission import Admission
from web.app import create_flask_app
from web.asgi import create_asgi_app
from web.server import Served, serve
from web.settings import PageSettings
from web.writing import Writer


@pytest.fixture
def database(tmp_path: Path, fresh_database: Path) -> Iterator[Database]:
    """An empty store."""
    path = tmp_path / "reconciler.db"
    shutil.copy(fresh_database, path)
    opened = Database.at(path)
    yield opened
    opened.close()


@pytest.fixture
def filling(database: Database) -> Filling:
    """Something to fill the store with."""
    return Filling(database)


@pytest.fixture
def filled(filling: Filling) -> Filling:
    """A store that holds everything at once."""
    fill(filling)
    return filling


@pytest.fixture
def client(database: Database) -> FlaskClient:
    """Asks the pages without a server."""
    return create_flask_app(database).test_client()


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxLab]:
    """A home and a spec folder; its sandbox ends with the test."""
    made = SandboxLab(tmp_path_factory.mktemp("w"))
    try:
        yield made
    finally:
        made.close()


Start = Callable[..., Served]


@pytest.fixture
def start(database: Database) -> Iterator[Start]:
    """Starts real servers on free ports; they are stopped at the end, promptly."""
    running: list[tuple[threading.Event, Served]] = []

    def started(writing: tuple[Writer, Admission] | None = None, **values: Any) -> Served:
        stop = threading.Event()
        served = serve(create_asgi_app(database, PageSettings(**values), (), writing), "127.0.0.1", 0, stop)
        running.append((stop, served))
        return served

    yield started
    for stop, served in running:
        stop.set()
        assert served.join(10), "the page did not stop"


@pytest.fixture
def runtime(tmp_path: Path, database: Database) -> Iterator[Runtime]:
    """What a daemon would write with, over the same store."""
    tmp_path.chmod(0o700)
    environment = {"RECONCILER_HOME": str(tmp_path), "HOME": str(tmp_path), "RECONCILER_PLUGINS": "entry_kind"}
    opened = open_runtime(load_settings(None, environment), "test")
    yield opened
    opened.database.close()


@pytest.fixture
def writing(runtime: Runtime) -> tuple[Writer, Admission]:
    """A page that may write, and the token TOKEN to write with."""
    return Writer(runtime), Admission(TOKEN)


@pytest.fixture
def writable(database: Database, writing: tuple[Writer, Admission]) -> FlaskClient:
    """Asks pages that may write, without a server."""
    return create_flask_app(database, None, writing).test_client()
