"""Fixtures for the tests of clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_lab import MOTD, Lab
from prepared import put_schemas, put_store


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    made = Lab(tmp_path / "home", tmp_path / "specs", capsys)
    made.specs.mkdir()
    made.home.mkdir(mode=0o700)
    put_store(made.home)
    put_schemas(made.home)
    made.write({"provider": "sandbox", "manifests": [MOTD]})
    yield made
    if (made.home / "sandbox" / "process.json").exists():
        os.kill(made.sandbox_pid(), signal.SIGKILL)  # an orderly end takes seconds, and nobody reads this home again
