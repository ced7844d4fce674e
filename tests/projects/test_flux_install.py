"""Flux is applied in stages from a manifest, a run that was killed is gone on with, and another one writes nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from gitops_crds import FLUX, trimmed
from plain_context import PlainContext, project
from project_lab import LabCluster, ProjectLab
from sandbox_server import Sandbox, write_kubeconfig

from reconciler.errors import BlockedError, DeadlineError, SpecError, TransientError
from reconciler.kinds.project.flux_install import INSTALLS, ensure_flux, objects_of
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.model.secret import SpecFile
from reconciler.transports.kube import KubeTransport

PATH = "/apis/apps/v1/namespaces/flux-system/deployments/source-controller"
LABELS = {"app": "source-controller"}


def controller(image: str = "nginx:1.27-alpine") -> dict[str, Any]:
    """A Deployment such as Flux has."""
    container = {"name": "manager", "image": image, "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "source-controller", "namespace": "flux-system", "labels": LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


def manifest(*more: dict[str, Any], image: str = "nginx:1.27-alpine") -> str:
    """What a small Flux is made of, in an order in which it could not be applied."""
    own = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "flux-system", "namespace": "flux-system", "creationTimestamp": None},
        "spec": {"interval": "1m", "url": "https://git.example/flux.git"},
        "status": {},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "flux", "namespace": "flux-system"}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [account, namespace]}
    return yaml.safe_dump_all([own, controller(image), listed, *trimmed(*FLUX), *more])


def wanting(text: str, cluster: str) -> ProjectSpec:
    file = SpecFile("flux.yaml", hashlib.sha256(text.encode()).hexdigest(), text)
    repository = {"provider": "generic", "url": "https://git.example/shop.git"}
    install = {"mode": "apply", "manifest": file}
    return project(cluster=cluster, repository=repository, flux={"install": install})


def versions(kubeconfig: Path) -> dict[str, str]:
    """The resource version of each object that the manifest has."""
    with KubeTransport(kubeconfig) as api:
        found: dict[str, str] = {}
        for one in objects_of(manifest()):
            metadata = one["metadata"]
            path = api.resource_path(one["apiVersion"], one["kind"], metadata.get("namespace", ""), metadata["name"])
            live = api.get(path)
            assert live is not None, path
            found[path] = live["metadata"]["resourceVersion"]
        return found


@pytest.fixture
def where(bare_sandbox: Sandbox, request: pytest.FixtureRequest, tmp_path: Path) -> PlainContext:
    """A cluster of the test's own, with its name as the only one of a context."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name)[-40:].strip("-")
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", bare_sandbox.create(name, agents=1))
    return PlainContext(tmp_path, {name: kubeconfig})


def the_one(context: PlainContext) -> tuple[str, Path]:
    ((name, kubeconfig),) = context.clusters.items()
    return name, kubeconfig


def test_it_is_applied_in_stages_and_a_second_run_writes_nothing(where: PlainContext) -> None:
    name, kubeconfig = the_one(where)
    ensure_flux(wanting(manifest(), name), where)
    row = where.records.get(INSTALLS, cluster=name)
    assert row is not None
    assert row["state"] == "installed"
    assert row["objects"].count('"kind"') == 6
    with KubeTransport(kubeconfig) as api:
        live = api.get(PATH)
    assert live is not None
    assert live["status"]["readyReplicas"] == 1, "it waits until Flux runs"
    assert "reconciler.dev/name" not in live["metadata"]["labels"], "it belongs to no project alone"
    before, writes = versions(kubeconfig), where.records.writes
    ensure_flux(wanting(manifest(), name), where)
    assert (versions(kubeconfig), where.records.writes) == (before, writes)
    ensure_flux(wanting(manifest(image="nginx:1.26-alpine"), name), where)
    after = versions(kubeconfig)
    assert [path for path in after if after[path] != before[path]] == [PATH], "only what differs is written"


@pytest.mark.parametrize("lines", [0, 1, 2, 4, 6])
def test_a_run_that_was_killed_is_gone_on_with(where: PlainContext, lines: int) -> None:
    name, kubeconfig = the_one(where)
    where.dies_after = lines
    with pytest.raises(KeyboardInterrupt):
        ensure_flux(wanting(manifest(), name), where)
    row = where.records.get(INSTALLS, cluster=name)
    assert row is not None
    assert row["state"] == ("applying" if lines < 6 else "installed")
    where.dies_after = -1
    ensure_flux(wanting(manifest(), name), where)
    assert row["state"] == "installed"
    assert len(where.records.tables[INSTALLS]) == 1
    assert len(versions(kubeconfig)) == 6


def test_what_somebody_else_installed_is_left_as_it_is(where: PlainContext) -> None:
    name, kubeconfig = the_one(where)
    with KubeTransport(kubeconfig) as api:
        for definition in trimmed(*FLUX):
            api.apply(definition)
        ensure_flux(wanting(manifest(), name), where)
        assert api.get("/api/v1/namespaces/flux-system") is None
    assert where.records.tables == {}
    assert "left as it is" in where.said[-1]


def test_fields_of_others_are_not_taken_over(where: PlainContext, bare_sandbox: Sandbox) -> None:
    name, kubeconfig = the_one(where)
    with KubeTransport(kubeconfig) as api:
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}})
        document = controller()
        api._json("POST", PATH.rpartition("/")[0] + "?fieldManager=somebody", document, "application/json")
    with pytest.raises(BlockedError, match=f"^cluster {name}: .*somebody"):
        ensure_flux(wanting(manifest(image="nginx:1.26-alpine"), name), where)
    row = where.records.get(INSTALLS, cluster=name)
    assert row is not None
    assert row["state"] == "applying"


def test_a_flux_that_does_not_run_in_time_is_said_so(where: PlainContext) -> None:
    name, _ = the_one(where)
    where.settings["installTimeout"] = "300ms"
    never = controller()
    never["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    text = yaml.safe_dump_all([one for one in yaml.safe_load_all(manifest()) if one["kind"] != "Deployment"] + [never])
    with pytest.raises(DeadlineError, match=r"Flux did not run within 0\.3 s: Deployment flux-sys") as caught:
        ensure_flux(wanting(text, name), where)
    assert caught.value.reason == "FluxNotRunning"


def test_a_manifest_without_flux_installs_no_flux(where: PlainContext) -> None:
    name, _ = the_one(where)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}
    with pytest.raises(TransientError, match="does not serve GitRepository"):
        ensure_flux(wanting(yaml.safe_dump(namespace), name), where)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no objects"),
        ("a: [", "line 2 is no valid YAML"),
        ("- 1", "document 1 is no Kubernetes object"),
        ("kind: A\nmetadata: {name: a}", "document 1 has no apiVersion"),
        ("---\napiVersion: v1\nkind: A\nmetadata: {name: 7}", "document 1 has no name"),
        ("apiVersion: v1\nkind: List\nitems: [1]", "document 1 is no Kubernetes object"),
        ("[" * 5000, "is no valid YAML"),
    ],
)
def test_a_manifest_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        objects_of(text)


def stages(text: str) -> Sequence[str]:
    return [one["kind"] for one in objects_of(text)]


def test_the_order_of_the_manifest_is_kept_where_it_does_not_matter() -> None:
    kinds = stages(manifest())
    assert kinds.index("ServiceAccount") < kinds.index("Namespace")
    assert kinds.count("CustomResourceDefinition") == 2


@pytest.fixture(scope="module")
def fresh(lab: ProjectLab) -> LabCluster:
    """A recorded cluster without Flux."""
    made = lab.cluster("fresh", flux=False)
    lab.ok("apply", lab.specs, "--yes")
    made.client.get("/version")  # so that its connection is ours, not a test's
    return made


def test_a_project_installs_flux_where_there_is_none(lab: ProjectLab, fresh: LabCluster) -> None:
    shop = lab.shop("installer", cluster="fresh", flux={"install": {"mode": "apply", "manifest": "flux.yaml"}})
    shop.write()
    (shop.folder / "flux.yaml").write_text(manifest())
    shop.apply()
    assert shop.row["status"] == "active"
    (row,) = lab.rows("SELECT * FROM flux_installs")
    assert (row["cluster"], row["state"]) == ("fresh", "installed")
    fresh.gate.forget()
    assert shop.plan() is None
    shop.apply(description="another")
    assert fresh.gate.writes() == []
    (shop.folder / "flux.yaml").write_text(manifest(image="nginx:1.26-alpine"))
    planned = shop.plan()
    assert planned is not None
    assert [diff["path"] for diff in planned["diffs"]] == ["spec.flux.fresh"]
    assert [step["name"] for step in planned["steps"]] == ["setup_gitops", "finalize"]
    shop.apply()
    assert [path.partition("?")[0] for _, path in fresh.gate.writes()] == [PATH]
    assert shop.plan() is None
    other = lab.shop("other-installer", cluster="fresh", flux={"install": {"mode": "apply", "manifest": "flux.yaml"}})
    other.write()
    (other.folder / "flux.yaml").write_text(manifest())
    fresh.gate.forget()
    other.apply()
    assert not any("flux-system" in path for _, path in fresh.gate.writes()), "it is the first one's"
    assert (other.plan(), shop.plan()) == (None, None)
