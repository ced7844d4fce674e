"""The fixture of every test here: a lab of its own, whose processes all end with the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon.lab import Lab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A home, a spec folder, and the live system of the entry kind."""
    made = Lab(tmp_path_factory.mktemp("d"))
    try:
        yield made
    finally:
        made.close()
