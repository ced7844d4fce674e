"""The fixture of every test here: a lab with a management cluster, one for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.argocd.argo_lab import ArgoLab


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoLab]:
    """The module's lab."""
    made = ArgoLab(tmp_path_factory.mktemp("g"))
    try:
        made.prepare()
        yield made
    finally:
        made.close()


@pytest.fixture
def lab(prepared: ArgoLab, request: pytest.FixtureRequest) -> ArgoLab:
    """The module's lab, with a spec folder for this test."""
    number = len(list(prepared.root.iterdir()))
    prepared.begin(f"{number}-{request.node.originalname[:40]}")
    return prepared


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoLab]:
    """A lab without any cluster."""
    made = ArgoLab(tmp_path_factory.mktemp("o"))
    try:
        yield made
    finally:
        made.close()
