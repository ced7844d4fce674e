"""A lab for each test module that wants nodes, and a pair in it for each test, as if nothing had happened before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))

from lab_nodes import PLAIN, ROOTED

if TYPE_CHECKING:
    from pair import Pair
    from pair_ground import Ground
    from pair_serving import ServingClient  # likewise
    from place import Place


@pytest.fixture(scope="module", params=[ROOTED])
def machines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two machines, for all tests of a module."""
    yield from _ground(request, tmp_path_factory)


@pytest.fixture(scope="module", params=[PLAIN])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two nodes that are only folders, for all tests of a module."""
    yield from _ground(request, tmp_path_factory)


@pytest.fixture
def ground(machines: Ground) -> Iterator[Ground]:
    """The machines; no connection to them outlives a test."""
    yield machines
    machines.disconnect()


@pytest.fixture
def plain_ground(folders: Ground) -> Iterator[Ground]:
    """The folders; likewise."""
    yield folders
    folders.disconnect()


@pytest.fixture
def pair(place: Place, ground: Ground) -> Pair:
    """The pair of the machines, which runs the old version."""
    return _pair(place, ground)


@pytest.fixture
def plain_pair(place: Place, plain_ground: Ground) -> Pair:
    """The pair of the folders."""
    return _pair(place, plain_ground)


@pytest.fixture
def serving(pair: Pair) -> Iterator[ServingClient]:
    """Asks both nodes throughout the test."""
    from pair_serving import ServingClient  # likewise

    with ServingClient(pair.ground) as client:
        yield client


def _ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    from pair_ground import Ground  # most test files of this folder want no nodes

    made = Ground(tmp_path_factory.mktemp("lab"), request.param)
    yield made
    made.close()


def _pair(place: Place, ground: Ground) -> Pair:
    from pair import Pair

    ground.reset()
    return Pair(place, ground)
