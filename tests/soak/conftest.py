"""What the soak tests share: a garden of their own, and the seed that makes a failure happen again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.clusters.sandbox_lab import SandboxLab
from tests.soak.garden import Garden, amount

AS_INSTALLED = ("env",)
"""In front of what is started: the soak kills also while a program still imports itself, so it starts no forks."""


@pytest.fixture
def chance() -> random.Random:
    """Randomness from RECONCILER_SOAK_SEED."""
    seed = amount("SEED", 20)
    print(f"\nseed {seed}: set RECONCILER_SOAK_SEED for another one")
    return random.Random(seed)


@pytest.fixture
def garden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Garden]:
    """Entries, notes and the real program on them."""
    made = Garden(tmp_path_factory.mktemp("g"))
    made.prefix = list(AS_INSTALLED)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxLab]:
    """A home whose clusters are those of a sandbox of its own."""
    made = SandboxLab(tmp_path_factory.mktemp("s"))
    made.prefix = list(AS_INSTALLED)
    try:
        yield made
    finally:
        made.close()
