"""The fixture of every test here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage


@pytest.fixture
def stage(tmp_path: Path, fresh_database: Path) -> Iterator[Stage]:
    """A home, specs, live systems, and the real program."""
    made = Stage(tmp_path, fresh_database)
    yield made
    made.close()
