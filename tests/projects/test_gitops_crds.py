"""Our trimmed definitions of Flux' and Argo CD's types are parts of the real ones, and what we write is valid there.

The real definitions are not ours to ship: RECONCILER_REAL_CRDS names a folder with them.
"""

from __future__ import annotations

import pytest
from gitops_crds import TRIMMED, VARIABLE, Definitions, definitions, left_out_checks, real_folder, trimmed

EXCEPTION = ".spec.url: pattern is '^(http|https|ssh|file)://.*$', really '^(http|https|ssh)://.*$'"
"""The sandbox has no controller that fetches, so a repository of this machine may stand in its address."""


@pytest.fixture(scope="module")
def real() -> list[dict[str, object]]:
    """The real definitions."""
    folder = real_folder()
    if folder is None:
        pytest.skip(f"no real definitions: {VARIABLE} names a folder with them")
    return definitions(folder)


def test_the_trimmed_definitions_are_small_and_of_five_types() -> None:
    kinds = {one["spec"]["names"]["kind"] for one in trimmed()}
    assert kinds == {"GitRepository", "Kustomization", "Application", "ApplicationSet", "AppProject"}
    assert [path.name for path in TRIMMED.iterdir() if path.stat().st_size > 8_000] == []


@pytest.mark.parametrize("ours", trimmed(), ids=lambda one: one["spec"]["names"]["kind"])
def test_a_trimmed_definition_is_a_part_of_the_real_one(ours: dict, real: list[dict]) -> None:
    theirs = next(one for one in real if one["metadata"]["name"] == ours["metadata"]["name"])
    for word in ("group", "scope", "names"):
        assert ours["spec"][word] == theirs["spec"][word], word
    served = {one["name"]: one for one in theirs["spec"]["versions"]}
    for version in ours["spec"]["versions"]:
        known = served[version["name"]]
        for word in ("served", "storage", "subresources", "additionalPrinterColumns"):
            assert version.get(word) == known.get(word), word
        schemas = (one["schema"]["openAPIV3Schema"] for one in (version, known))
        expected = [EXCEPTION] if ours["spec"]["names"]["kind"] == "GitRepository" else []
        assert list(left_out_checks(*schemas)) == expected


def test_unknown_fields_and_broken_checks_are_found() -> None:
    known = Definitions(trimmed())
    good = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"interval": "1m", "url": "https://example.com/a.git"},
    }
    assert known.faults(good) == []
    assert known.faults({**good, "spec": {**good["spec"], "pruned": 1}}) != []
    assert known.faults({**good, "spec": {**good["spec"], "interval": "soon"}}) != []
    assert known.faults({**good, "spec": {"interval": "1m"}}) != []
    assert known.faults({**good, "metadata": {"name": "a"}}) == ["GitRepository is Namespaced"]
    assert known.faults({**good, "apiVersion": "source.toolkit.fluxcd.io/v1beta2"}) != []
