"""The fixture of every test here: a lab whose clusters have branches of a repository of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.branches.branch_lab import BranchLab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BranchLab]:
    """A home, a spec folder and a bare repository; its sandbox, if one was started, ends with the test."""
    made = BranchLab(tmp_path_factory.mktemp("b"))
    try:
        yield made
    finally:
        made.close()
