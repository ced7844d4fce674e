"""Fixtures: a real sandbox process in a home of its own, and clients for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_server import ApiClient, Sandbox

from reconciler.sandbox import processes


@pytest.fixture(scope="session")
def schema_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Derived schemas, made once and given to every home, as a home has them after its first start."""
    home = tmp_path_factory.mktemp("warm")
    sandbox = Sandbox(home)
    sandbox.start()
    try:
        cluster = sandbox.create("warm")
        client = ApiClient(cluster)
        client.namespace()
        client.close()
    finally:
        sandbox.end()
    return next(processes.folder_of(home).glob("schemas-*.json"))


def _new_home(folder: Path, schema_cache: Path) -> Path:
    target = processes.folder_of(folder)
    target.mkdir(mode=0o700, parents=True)
    os.link(schema_cache, target / schema_cache.name)
    return folder


@pytest.fixture
def sandbox(tmp_path: Path, schema_cache: Path) -> Iterator[Sandbox]:
    """A running server in a new home."""
    started = Sandbox(_new_home(tmp_path / "home", schema_cache))
    started.start()
    yield started
    started.end()


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory, schema_cache: Path) -> Iterator[Sandbox]:
    """A running server that tests share as long as they do not stop it."""
    started = Sandbox(_new_home(tmp_path_factory.mktemp("shared") / "home", schema_cache))
    started.start()
    yield started
    started.end()


@pytest.fixture(scope="session")
def cluster(shared_sandbox: Sandbox) -> dict[str, Any]:
    """A cluster of one server and one agent."""
    return shared_sandbox.create("shared", agents=1)


@pytest.fixture
def api(cluster: dict[str, Any]) -> Iterator[ApiClient]:
    """A client of the shared cluster."""
    client = ApiClient(cluster)
    yield client
    client.close()
