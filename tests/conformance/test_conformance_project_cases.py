"""The predecessor's acceptance cases for projects on any API server: what is written is told by resource versions.

Environments are suspended, and the address that Flux is given leads nowhere, so that one that runs there is idle.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from git_lab import Repository
from place import Place, Ran, kill, wait_until_stopped
from test_conformance_gitops import MERGE
from test_conformance_gitops import kube as kube  # the fixture that lets the server know Flux' types
from test_conformance_project import KUSTOMIZATIONS, SOURCES, document

from reconciler.transports.kube import KubeTransport

SLUGS = ("development", "staging", "production")
BLOCKED = 7
FINALIZER = "finalizers.example.com/held"


class Shop:
    """A project with three environments, by the command line."""

    def __init__(self, place: Place, kubeconfig: Path, api: KubeTransport) -> None:
        self.place, self.api = place, api
        self.name = f"conformance-{uuid.uuid4().hex[:8]}"
        self.repository = Repository(place.root / "shop.git")
        self.repository.commit({f"k8s/overlays/{slug}/kustomization.yaml": "resources: []" for slug in SLUGS})
        auth = {"token": {"fromEnv": "RECONCILER_SECRET_SHOP"}}
        self.token = "t0ken"
        self.cluster = document("Cluster", "any", {"provider": "existing", "kubeconfig": {"path": str(kubeconfig)}})
        self.spec: dict[str, Any] = {
            "cluster": "any",
            "repository": {"provider": "generic", "url": self.repository.url, "auth": auth},
            "environments": [{"type": slug, "suspend": True} for slug in SLUGS],
            "flux": {"url": "https://git.example.invalid/acme/shop.git"},
        }

    def apply(self, code: int | None = 0, **lifecycle: str) -> Ran:
        """`reconciler apply` of it and its cluster."""
        self.place.write("all.yaml", self.cluster, document("Project", self.name, self.spec, **lifecycle))
        env = {"RECONCILER_SECRET_SHOP": self.token}
        return self.place.run("apply", self.place.specs, "--yes", code=code, env=env)

    @property
    def id(self) -> str:
        """As recorded."""
        return str(self.place.rows("SELECT id FROM projects WHERE resource = ?", self.name)[0]["id"])

    @property
    def namespace(self) -> str:
        """Where its objects are."""
        return f"project-{self.id}"

    def objects(self) -> dict[str, dict[str, Any]]:
        """Everything of it that is there, by path."""
        found: dict[str, dict[str, Any]] = {}
        for path in (f"/api/v1/namespaces/{self.namespace}/secrets", *self.collections()):
            ours = (one for one in self.api.list(path) if self.name in str(one["metadata"].get("labels")))
            found |= {f"{path}/{one['metadata']['name']}": one for one in ours}
        return found

    def collections(self) -> tuple[str, str]:
        """Of its sources and its kustomizations."""
        return SOURCES.format(self.namespace), KUSTOMIZATIONS.format(self.namespace)

    def versions(self) -> dict[str, str]:
        """The resource version of each: another one whenever somebody has written."""
        return {path: one["metadata"]["resourceVersion"] for path, one in self.objects().items()}

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Somebody else's hand."""
        self.api._json("PATCH", f"{path}?fieldManager=somebody", body, MERGE)


@pytest.fixture
def shop(place: Place, kubeconfig: Path, kube: KubeTransport) -> Iterator[Shop]:
    made = Shop(place, kubeconfig, kube)
    made.apply()
    yield made
    if place.rows("SELECT * FROM projects WHERE resource = ?", made.name):
        made.apply(None, state="absent")


def test_flux_case_1_rows_and_objects(shop: Shop) -> None:
    assert sorted(one["kind"] for one in shop.objects().values()) == [
        *["GitRepository", *["Kustomization"] * 3],
        "Secret",
    ]
    counted = {name: len(shop.place.rows(f"SELECT * FROM {name}")) for name in ("environments", "gitops_resources")}
    assert counted == {"environments": 3, "gitops_resources": 4}
    steps = shop.place.rows("SELECT status, progress FROM project_initialization_steps")
    assert [row["status"] for row in steps] == ["completed"] * 7


def test_flux_case_2_a_second_run_writes_nothing(shop: Shop) -> None:
    before = shop.versions()
    shop.apply()
    assert shop.versions() == before


def test_flux_case_3_another_branch_changes_one_object(shop: Shop) -> None:
    shop.repository.git("branch", "next", "main")
    before = shop.versions()
    shop.spec["repository"]["branch"] = "next"
    shop.apply()
    after = shop.versions()
    (moved,) = [path for path in before if after[path] != before[path]]
    assert moved.startswith(shop.collections()[0])
    assert shop.objects()[moved]["spec"]["ref"] == {"branch": "next"}


def test_flux_case_7_a_folder_that_is_not_there_is_named_before_anything_is_written(shop: Shop) -> None:
    before = shop.versions()
    shop.spec["environments"] = [*shop.spec["environments"], {"type": "testing", "suspend": True}]
    said = shop.apply(None)
    assert "no folder ./k8s/overlays/testing" in said.out + said.err
    assert shop.versions() == before


def test_flux_case_8_what_flux_says_stands_in_the_row(shop: Shop) -> None:
    path = next(path for path in shop.objects() if "/kustomizations/" in path)
    told = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "path not found"}
    whole = {**told, "lastTransitionTime": "2025-01-01T00:00:00Z"}
    generation = shop.objects()[path]["metadata"]["generation"]
    shop.patch(f"{path}/status", {"status": {"observedGeneration": generation, "conditions": [whole]}})
    if shop.objects()[path]["status"]["conditions"][0]["reason"] != "BuildFailed":
        pytest.skip("Flux itself runs here, and has its own opinion")
    shop.apply(None)
    (row,) = shop.place.rows("SELECT * FROM gitops_resources WHERE status = 'failed'")
    assert (row["name"], "path not found" in json.dumps(row)) == (path.rpartition("/")[2], True)


def test_flux_case_9_it_goes_whole_also_when_parts_of_it_are_gone(shop: Shop) -> None:
    namespace = shop.namespace
    for path in [path for path in shop.objects() if "/kustomizations/" in path or "/secrets/" in path][:2]:
        assert shop.api.delete(path)
    shop.apply(state="absent")
    assert shop.api.get(f"/api/v1/namespaces/{namespace}") is None
    assert shop.place.rows("SELECT * FROM projects") == []


def test_row_1_08_a_new_token_is_written_in_place(shop: Shop) -> None:
    (path,) = [path for path in shop.objects() if "/secrets/" in path]
    before = shop.objects()
    shop.token = "another"
    shop.apply()
    after = shop.objects()
    assert base64.b64decode(after[path]["data"]["password"]) == b"another"
    assert after[path]["metadata"]["uid"] == before[path]["metadata"]["uid"]
    assert {one["metadata"]["uid"] for one in after.values()} == {one["metadata"]["uid"] for one in before.values()}


def test_another_owner_of_a_field_is_named_and_not_overruled(shop: Shop) -> None:
    path = next(path for path in shop.objects() if "/kustomizations/" in path)
    shop.patch(path, {"spec": {"path": "./elsewhere"}})
    said = shop.apply(None)
    assert "somebody" in said.out + said.err
    assert shop.objects()[path]["spec"]["path"] == "./elsewhere"
    shop.spec["flux"]["force"] = True
    shop.apply()
    assert shop.objects()[path]["spec"]["path"].startswith("./k8s/overlays/")


def test_what_is_not_ours_keeps_the_namespace(shop: Shop) -> None:
    path = f"/api/v1/namespaces/{shop.namespace}/configmaps"
    shop.api._json("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "precious"}})
    said = shop.apply(BLOCKED, state="absent")
    assert "ConfigMap precious" in said.out + said.err
    assert shop.api.get(f"{path}/precious") is not None
    assert shop.api.delete(f"{path}/precious")
    shop.apply(state="absent")


def test_a_finalizer_that_holds_it_is_named(shop: Shop) -> None:
    path = next(path for path in shop.objects() if "/kustomizations/" in path)
    shop.patch(path, {"metadata": {"finalizers": [FINALIZER]}})
    shop.place.settings["KINDS"] = json.dumps({"Project": {"deleteTimeout": "1s"}})
    said = shop.apply(None, state="absent")
    assert FINALIZER in said.out + said.err
    shop.patch(path, {"metadata": {"finalizers": None}})
    shop.apply(state="absent")
    assert shop.place.rows("SELECT * FROM projects") == []


def test_flux_case_5_killed_on_its_way_it_goes_on_without_doubles(shop: Shop) -> None:
    for path in [path for path in shop.objects() if "/kustomizations/" in path]:
        assert shop.api.delete(path)
    shop.spec["description"] = "so that there is more to write"
    shop.place.write("all.yaml", shop.cluster, document("Project", shop.name, shop.spec))
    env = {"RECONCILER_SECRET_SHOP": shop.token}
    process = shop.place.start("apply", shop.place.specs, "--yes", env=env, stop="commit:9")
    assert wait_until_stopped(process, 120)
    kill(process)
    shop.apply()
    assert len(shop.objects()) == 5
    rows = shop.place.rows("SELECT type, name FROM gitops_resources")
    assert (len(rows), len({row["name"] for row in rows})) == (4, 4)


def test_flux_case_10_the_token_is_in_the_cluster_and_nowhere_else(shop: Shop) -> None:
    (secret,) = [one for path, one in shop.objects().items() if "/secrets/" in path]
    assert base64.b64decode(secret["data"]["password"]) == shop.token.encode()
    needles = (shop.token.encode(), base64.b64encode(shop.token.encode()))
    files = [path for path in shop.place.home.rglob("*") if path.is_file()]
    assert [path.name for path in files if any(needle in path.read_bytes() for needle in needles)] == []


def test_row_3_11_what_is_never_ready_is_a_timeout_and_stays(shop: Shop) -> None:
    before = set(shop.objects())
    shop.spec |= {"wait": {"ready": True, "timeout": "1s"}, "description": "waited for"}
    shop.spec["environments"][0]["path"] = "./k8s/overlays/staging"
    said = shop.apply(None)
    assert "TIMEOUT" in said.out + said.err
    assert set(shop.objects()) == before
