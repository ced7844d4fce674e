"""The objects of projects on any API server, through our transport: definitions, applying, finalizers, watches.

Where a server serves Flux' types already, those are used, and nothing of it is changed; otherwise ours are applied for
the tests. Each test has a namespace of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "plugins"))

from gitops_crds import FLUX, trimmed

from reconciler.errors import BlockedError, TerminalError, TransientError
from reconciler.model.kstatus import health_of
from reconciler.model.marks import owner_of, ownership_labels
from reconciler.model.resource import ResourceRef
from reconciler.transports.kube import KubeTransport
from reconciler.transports.kube_objects import fetch, side_by_side

SOURCE_API, KUSTOMIZE_API = "source.toolkit.fluxcd.io/v1", "kustomize.toolkit.fluxcd.io/v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SHOP = ResourceRef("Project", "shop")
FINALIZER = "finalizers.example.com/held"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def kube(kubeconfig: Path) -> Iterator[KubeTransport]:
    """The server under test, with Flux' types; skips where they may not be defined."""
    with KubeTransport(kubeconfig) as transport:
        missing = [one for one in trimmed(*FLUX) if transport.get(f"{CRDS}/{one['metadata']['name']}") is None]
        try:
            for definition in missing:
                transport.apply(definition)
        except TerminalError as error:
            pytest.skip(f"this server lets us define no types: {error.message}")
        for definition in trimmed(*FLUX):
            await_true(lambda name=definition["metadata"]["name"]: is_current(transport, f"{CRDS}/{name}"))
        yield transport
        for definition in missing:
            transport.delete(f"{CRDS}/{definition['metadata']['name']}")


def is_current(kube: KubeTransport, path: str) -> bool:
    return health_of(kube.get(path) or {}).state == "current"


def await_true(look: Any, within: float = 60.0) -> None:
    give_up = time.monotonic() + within
    while not look():
        assert time.monotonic() < give_up, f"not within {within:g} s"
        time.sleep(0.05)


def source(namespace: str, name: str = "repo", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": ownership_labels(SHOP)}
    wanted = {"interval": "1m", "url": "https://git.example.com/shop.git", "ref": {"branch": "main"}, **spec}
    return {"apiVersion": SOURCE_API, "kind": "GitRepository", "metadata": metadata, "spec": wanted}


def kustomization(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": ownership_labels(SHOP)}
    reference = {"kind": "GitRepository", "name": "repo"}
    wanted = {"interval": "1m", "path": f"./k8s/{name}", "prune": True, "sourceRef": reference, **spec}
    return {"apiVersion": KUSTOMIZE_API, "kind": "Kustomization", "metadata": metadata, "spec": wanted}


def path_of(kube: KubeTransport, manifest: dict[str, Any]) -> str:
    metadata = manifest["metadata"]
    return kube.resource_path(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])


def patch(kube: KubeTransport, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Somebody else's hand."""
    return kube._json("PATCH", f"{path}?fieldManager=somebody", body, MERGE)


def test_flux_types_are_established_and_found_by_discovery(kube: KubeTransport) -> None:
    for definition in trimmed(*FLUX):
        found = health_of(kube.get(f"{CRDS}/{definition['metadata']['name']}") or {})
        assert found.state == "current", found
    assert kube.resource_path(SOURCE_API, "GitRepository", "x", "y").endswith("/namespaces/x/gitrepositories/y")
    assert kube.resource_path(KUSTOMIZE_API, "Kustomization").endswith("/v1/kustomizations")


def test_an_object_is_applied_owned_and_unchanged_by_a_second_time(kube: KubeTransport, namespace: str) -> None:
    for manifest in (source(namespace), kustomization(namespace, "development")):
        made = kube.apply(manifest)
        assert owner_of(made["metadata"]["labels"]) == SHOP
        assert {one["manager"] for one in made["metadata"]["managedFields"]} >= {"reconciler"}
        again = kube.apply(manifest)
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"], "nothing was written"
        assert health_of(made).state == "progressing", "nobody has looked at it yet"


def test_another_owner_of_a_field_is_named_and_overruled_only_on_request(kube: KubeTransport, namespace: str) -> None:
    wanted = kustomization(namespace, "staging")
    kube.apply(wanted)
    patch(kube, path_of(kube, wanted), {"spec": {"path": "./elsewhere"}})
    with pytest.raises(BlockedError, match=r"spec\.path.*somebody"):
        kube.apply(wanted)
    assert kube.apply(wanted, force=True)["spec"]["path"] == "./k8s/staging"


def test_what_the_schema_forbids_is_refused_by_name(kube: KubeTransport, namespace: str) -> None:
    with pytest.raises(TerminalError, match="interval"):
        kube.apply(source(namespace, interval="soon"))
    with pytest.raises(TerminalError, match=r"sourceRef"):
        kube.apply(kustomization(namespace, "broken", sourceRef={"kind": "Pod", "name": "x"}))


def test_a_held_object_is_leaving_until_its_finalizer_is_taken_away(kube: KubeTransport, namespace: str) -> None:
    wanted = source(namespace)
    kube.apply(wanted)
    path = path_of(kube, wanted)
    patch(kube, path, {"metadata": {"finalizers": [FINALIZER]}})
    assert kube.delete(path) is True
    assert health_of(kube.get(path) or {}).state == "terminating"
    patch(kube, path, {"metadata": {"finalizers": []}})
    await_true(lambda: kube.get(path) is None)
    assert kube.delete(path) is False


def test_status_is_a_subresource_and_what_it_says_is_health(kube: KubeTransport, namespace: str) -> None:
    wanted = kustomization(namespace, "production")
    generation = kube.apply(wanted)["metadata"]["generation"]
    path = path_of(kube, wanted)
    said = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "path not found"}
    whole = {**said, "lastTransitionTime": "2025-01-01T00:00:00Z", "observedGeneration": generation}
    patch(kube, f"{path}/status", {"status": {"observedGeneration": generation, "conditions": [whole]}})
    live = kube.get(path) or {}
    assert live["metadata"]["generation"] == generation
    if live["status"]["conditions"][0]["reason"] != "BuildFailed":
        pytest.skip("Flux itself runs here, and has its own opinion")
    assert tuple(health_of(live)) == ("failed", "BuildFailed", "path not found")
    changed = kube.apply(kustomization(namespace, "production", path="./another"))
    assert health_of(changed).reason == "NotObserved", "that was said of an older generation"


def test_a_watch_tells_whose_object_it_was(kube: KubeTransport, namespace: str) -> None:
    path = kube.resource_path(SOURCE_API, "GitRepository", namespace)
    revision = kube.revision(path)
    kube.apply(source(namespace))
    patch(kube, f"{path}/repo", {"spec": {"suspend": True}})
    with kube.watch(path, resource_version=revision, timeout=30, metadata_only=True) as watch:
        seen = [next(watch), next(watch)]
    assert [one.type for one in seen] == ["ADDED", "MODIFIED"]
    assert {owner_of(one.metadata["labels"]) for one in seen} == {SHOP}


@pytest.mark.usefixtures("kube")
def test_many_are_written_side_by_side_and_seen_in_one_list_a_type(kubeconfig: Path, namespace: str) -> None:
    manifests = [source(namespace), *(kustomization(namespace, f"e{number}") for number in range(30))]
    with KubeTransport(kubeconfig) as kube:
        done = [manifest["metadata"]["name"] for manifest, _ in side_by_side(kube.apply, manifests)]
        assert sorted(done) == sorted(manifest["metadata"]["name"] for manifest in manifests)
        paths = {path_of(kube, manifest) for manifest in manifests}
        missing = path_of(kube, kustomization(namespace, "nobody"))
        assert set(fetch(kube, {*paths, missing})) == paths


def test_the_first_refusal_of_many_is_raised_and_nothing_more_is_begun(kube: KubeTransport, namespace: str) -> None:
    begun: list[str] = []

    def apply(manifest: dict[str, Any]) -> None:
        begun.append(manifest["metadata"]["name"])
        kube.apply(manifest)

    bad = kustomization(namespace, "bad", interval="soon")
    manifests = [bad, *(kustomization(namespace, f"e{number}") for number in range(50))]
    with pytest.raises(TerminalError, match="interval"):
        list(side_by_side(apply, manifests, most=1))
    assert begun == ["bad"]


def test_a_type_that_is_not_served_is_named(kube: KubeTransport, namespace: str) -> None:
    manifest = {**source(namespace), "apiVersion": "source.toolkit.fluxcd.io/v99"}
    with pytest.raises(TransientError, match="GitRepository") as caught:
        kube.apply(manifest)
    assert caught.value.reason == "UnknownType"
