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
    from pair_serving import ServingClient
    from place import Place


@pytest.fixture(scope="module", params=[ROOTED])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two machines. A module that wants plain nodes too is parametrized with `indirect`."""
    from pair_ground import Ground

    made = Ground(tmp_path_factory.mktemp("lab"), request.param)
    yield made
    made.close()


@pytest.fixture(scope="module", params=[PLAIN])
def plain_ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two nodes that are only folders."""
    from pair_ground import Ground

    made = Ground(tmp_path_factory.mktemp("lab"), request.param)
    yield made
    made.close()


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
    from pair_serving import ServingClient

    with ServingClient(pair.ground) as client:
        yield client


def _pair(place: Place, ground: Ground) -> Pair:
    from pair import Pair

    ground.reset()
    return Pair(place, ground)
