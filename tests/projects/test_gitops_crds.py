"""Our trimmed definitions of Flux' and Argo CD's types are parts of the real ones, and what we write is valid there.

The real definitions are not ours to ship: RECONCILER_REAL_CRDS names a folder with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from gitops_crds import ROOT, TRIMMED, VARIABLE, Definitions, definitions, left_out_checks, real_folder, trimmed
from plain_context import project

from reconciler.kinds.application_set.manifest import manifest_of, with_elements
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.kinds.project.objects import filled, places
from reconciler.kinds.project.objects import objects_of as project_objects
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.secret import Secret

EXCEPTION = ".spec.url: pattern is '^(http|https|ssh|file)://.*$', really '^(http|https|ssh)://.*$'"
"""The sandbox has no controller that fetches, so a repository of this machine may stand in its address."""


@pytest.fixture(scope="module")
def real() -> list[dict[str, Any]]:
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
def test_a_trimmed_definition_is_a_part_of_the_real_one(ours: dict[str, Any], real: list[dict[str, Any]]) -> None:
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


def projects() -> Iterator[tuple[str, ProjectSpec]]:
    """Projects that between them use every field of the kind that ends in an object."""
    https = {"provider": "github", "name": "acme/shop", "auth": {"token": Secret("t", "env:T")}}
    ssh = {"sshKey": Secret("k", "env:K"), "knownHosts": "git.example ssh-ed25519 AAAA"}
    yield "usual", project(repository=https)
    yield "without credentials", project(repository={"provider": "generic", "url": "https://git.example/a.git"})
    environments = [
        {"type": "testing", "slug": "1e5", "path": "./deploy/a.b-c/", "suspend": True},
        {"type": "staging", "slug": "s" * 54, "namespace": "n" * 63, "cluster": "other"},
        {"type": "production", "cluster": "other"},
    ]
    check = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
    durations = {"interval": "1h30m", "timeout": "90s", "retryInterval": "1.5m"}
    flux = {**durations, "prune": False, "wait": True, "dependsOn": True, "healthChecks": [check]}
    repository = {"provider": "generic", "url": "git@git.example:acme/shop.git", "branch": "a/b", "auth": ssh}
    yield "everything", project(repository=repository, environments=environments, flux=flux)
    yield (
        "another address for Flux",
        project(
            repository={"provider": "generic", "url": "file:///srv/shop.git"}, flux={"url": "https://git.example/s.git"}
        ),
    )


def objects_of_projects() -> Iterator[tuple[str, Mapping[str, Any]]]:
    identity = "12345678-1111-4222-8333-444455556666"
    for name, spec in projects():
        for cluster, wanted in project_objects(spec).items():
            for place, manifest in places(cluster, filled(wanted, identity)):
                if place.kind in ("GitRepository", "Kustomization"):
                    yield f"{name}: {place}", manifest


def objects_of_application_sets() -> Iterator[tuple[str, Mapping[str, Any]]]:
    ref = ResourceRef("ApplicationSet", "whoami")
    example = yaml.safe_load((ROOT / "reconciler/kinds/application_set/example.yaml").read_text())["spec"]
    rich = {
        **example,
        "values": {"tier": "gold"},
        "path": "charts/${env}",
        "destination": {"namespace": "apps-${env}"},
        "preserveResources": True,
    }
    plain = {"repoURL": "https://git.example/a.git"}
    for name, spec in (("example", example), ("rich", rich), ("plain", plain)):
        manifest = manifest_of(SetSpec.of(Resource(ref, spec)))
        yield f"{name}: without clusters", with_elements(manifest, [])
        yield f"{name}: with one", with_elements(manifest, [{"env": "dev", "clusterName": "dev", "branch": "1e5"}])


WRITTEN = [*objects_of_projects(), *objects_of_application_sets()]


@pytest.mark.parametrize("manifest", [one for _, one in WRITTEN], ids=[name for name, _ in WRITTEN])
def test_what_we_write_is_valid_by_our_definitions(manifest: Mapping[str, Any]) -> None:
    assert Definitions(trimmed()).faults(manifest) == []


def test_what_we_write_is_valid_by_the_real_definitions(real: list[dict[str, Any]]) -> None:
    known = Definitions(real)
    assert {name: found for name, manifest in WRITTEN if (found := known.faults(manifest))} == {}
    kinds = [manifest["kind"] for _, manifest in WRITTEN]
    assert (kinds.count("GitRepository"), kinds.count("Kustomization"), kinds.count("ApplicationSet")) == (5, 12, 6)
