"""The fixtures of every test here: labs whose clusters have branches of a repository of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.branches.branch_lab import BranchLab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BranchLab]:
    """A home, a spec folder and a bare repository; its sandbox, if one was started, ends with the test."""
    yield from _made(tmp_path_factory)


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BranchLab]:
    """A second one, for what concerns two homes."""
    yield from _made(tmp_path_factory)


def _made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BranchLab]:
    made = BranchLab(tmp_path_factory.mktemp("b"))
    try:
        yield made
    finally:
        made.close()
