"""What every suite shares: a place to test in, an engine on it, and the proof that a test left nothing running."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from place import Place

    from tests.clusters.docker_lab import DockerLab

sys.path.insert(0, str(Path(__file__).parent / "plugins"))

from forking import own_traces

settings.register_profile(
    "ours",
    max_examples=int(os.environ.get("RECONCILER_SOAK_EXAMPLES", 40)),  # `make soak` tries many
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
settings.load_profile("ours")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell's background starts so, and every child would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test fails when threads that hold up the process, children or file descriptors outlive it.

    What fixtures of a wider scope hold was there before the test, and is not counted.
    """
    before = _threads() | _children() | _descriptors()
    yield
    left = _left(before)
    give_up = time.monotonic() + 3.0
    while left and time.monotonic() < give_up:
        gc.collect()
        time.sleep(0.02)
        left = _left(before)
    if left:
        pytest.fail(f"left behind: {', '.join(sorted(left))}", pytrace=False)


def _left(before: set[str]) -> set[str]:
    return (_threads() | _children() | _descriptors()) - before - own_traces()


def _threads() -> set[str]:
    return {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate() if not thread.daemon}


def _children() -> set[str]:
    found = Path("/proc/self/task").glob("*/children")
    return {f"process {pid}" for path in found for pid in _read(path).split()}


def _descriptors() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"descriptor {entry.name} ({entry.readlink()})")
        except OSError:
            continue
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the thread ended meanwhile
        return ""


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store at the newest schema, to copy: making one costs half a second."""
    from reconciler.kinds import discover
    from reconciler.store.schema import open_database

    path = tmp_path_factory.mktemp("fresh") / "reconciler.db"
    folders = [package.folder for package in discover(["entry_kind"]).packages.values()]
    open_database(f"sqlite:///{path}", folders).close()
    return path


@pytest.fixture
def place(tmp_path: Path, fresh_database: Path) -> Iterator[Place]:
    """A home, specs and a live system."""
    from place import Place

    made = Place(tmp_path, fresh_database)
    yield made
    made.close()


@pytest.fixture(scope="session")
def apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a sandbox that serves the APIs of clusters in docker."""
    from tests.clusters.docker_lab import serving_apis

    with serving_apis(tmp_path_factory.mktemp("apis")) as home:
        yield home


@pytest.fixture
def docker(tmp_path_factory: pytest.TempPathFactory, apis: Path) -> Iterator[DockerLab]:
    """A lab with recorded-contract docker, kind and k3d."""
    from tests.clusters.docker_lab import DockerLab

    made = DockerLab(tmp_path_factory.mktemp("d"))
    made.equip(apis)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[..., Any]]:
    """Opens engines on the place, in this process: `opened(observe_timeout=0.5)`; all are closed at the end."""
    from inside import Inside

    engines: list[Inside] = []

    def open_one(**values: Any) -> Inside:
        engines.append(Inside(place, **values))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()
