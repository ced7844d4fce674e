"""The fixture of every test here: a lab whose clusters are those of a sandbox of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.envtest_lab import EnvtestLab
from tests.clusters.envtest_programs import install
from tests.clusters.sandbox_lab import SandboxLab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxLab]:
    """A home and a spec folder; its sandbox, if one was started, ends with the test."""
    made = SandboxLab(tmp_path_factory.mktemp("c"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxLab]:
    """A second lab, for what concerns two homes."""
    made = SandboxLab(tmp_path_factory.mktemp("o"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def envtest_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with etcd, kube-apiserver and kube-controller-manager."""
    return install(tmp_path_factory.mktemp("assets"))


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory, envtest_programs: Path) -> Iterator[EnvtestLab]:
    """A lab whose clusters are control planes."""
    made = EnvtestLab(tmp_path_factory.mktemp("e"), envtest_programs)
    try:
        yield made
    finally:
        made.close()
