"""The ApplicationSets that we write are valid by the definitions of their type: our trimmed one, and the real one."""

from __future__ import annotations

from typing import Any

import pytest
from gitops_crds import ARGO, ROOT, TRIMMED, VARIABLE, Definitions, definitions, real_folder, trimmed

from reconciler.kinds.application_set.manifest import manifest_of, with_elements
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source

SPECS: dict[str, dict[str, Any]] = {
    "the shortest": {},
    "everything": {
        "cluster": "devops",
        "namespace": "gitops",
        "baseDomain": "apps.example.com",
        "path": "charts/${env}",
        "revision": "release-${env}",
        "helm": {"releaseName": "app", "parameters": [{"name": "image.tag", "value": "${tag}"}]},
        "values": {"tag": "1"},
        "destination": {"namespace": "app-${env}"},
        "project": "team",
        "syncPolicy": {"automated": {"prune": True, "selfHeal": False, "allowEmpty": True}, "syncOptions": ["A=b"]},
        "preserveResources": True,
    },
}


def objects() -> list[dict[str, Any]]:
    """An object of each spec, without elements and with one."""
    made: list[dict[str, Any]] = []
    for spec in SPECS.values():
        ref, source = ResourceRef("ApplicationSet", "app"), Source("file:/srv/specs/a.yaml", 1, 1)
        resource = Resource(ref, {"repoURL": "https://git.example.com/a.git", **spec}, {}, Lifecycle(), source, 1)
        manifest = manifest_of(SetSpec.of(resource))
        made += [with_elements(manifest, []), with_elements(manifest, [{"env": "dev", "clusterName": "dev"}])]
    return made


def test_they_are_valid_by_the_trimmed_definition() -> None:
    assert [Definitions(trimmed(*ARGO)).faults(one) for one in objects()] == [[]] * 4
    spoiled = objects()[0]
    spoiled["spec"]["template"]["spec"]["sources"] = "x"
    assert Definitions(trimmed(*ARGO)).faults(spoiled) != []


def test_they_are_valid_by_the_real_definition() -> None:
    folder = real_folder()
    if folder is None:
        pytest.skip(f"no real definitions: {VARIABLE} names a folder with them")
    assert [Definitions(definitions(folder)).faults(one) for one in objects()] == [[]] * 4


def test_the_example_has_the_same_trimmed_definition() -> None:
    copied = ROOT / "examples" / "applicationset" / "specs" / "crds" / "applicationsets.yaml"
    assert copied.read_text() == (TRIMMED / "applicationsets.yaml").read_text()
