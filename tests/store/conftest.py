"""A store to test: a real SQLite file, copied from an empty one at the newest schema."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.store.database import Database


@pytest.fixture
def database_file(tmp_path: Path, fresh_database: Path) -> Path:
    return Path(shutil.copy(fresh_database, tmp_path / "reconciler.db"))


@pytest.fixture
def database(database_file: Path) -> Iterator[Database]:
    opened = Database.at(database_file, busy_timeout=10.0)
    yield opened
    opened.close()
