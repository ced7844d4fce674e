"""A project through the API of a running daemon: created in the predecessor's shape, followed, shown, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forge_lab import TOKEN, forge_server
from git_servers import smart_http
from project_lab import KUSTOMIZATIONS, SOURCES, ProjectLab
from sandbox_server import Sandbox, write_kubeconfig

from tests.daemon.lab import document, until
from tests.web.write_lab import Api

NOT_READY = "kustomization path not found: stat /tmp/k8s/overlays/staging: no such file or directory"


@pytest.fixture
def lab(bare_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectLab]:
    """A home that knows one cluster, `dev`, without a gate before it: a daemon's watches do not end."""
    made = ProjectLab(tmp_path_factory.mktemp("a"), sandbox=bare_sandbox)
    try:
        cluster = made.cluster("dev")
        direct: Path = write_kubeconfig(made.root / "direct", dict(cluster.gate.cluster))
        spec = {"provider": "existing", "kubeconfig": {"path": str(direct)}}
        made.write("cluster-dev.yaml", document("Cluster", "dev", spec))
        yield made
    finally:
        made.close()


def test_row_1_15_a_project_is_created_shown_and_deleted_through_the_api(lab: ProjectLab) -> None:
    repository, cluster = lab.repository(), lab.clusters["dev"]
    with smart_http(repository.path.parent) as served:
        daemon = lab.daemon()
        lab.await_ready("Cluster/dev")
        api = Api(daemon.url, (lab.home / "api-token").read_text().strip())
        given = {"provider": "generic", "name": "acme/shop", "visibility": "private"}
        body = {"name": "Shop", "slug": "shop", "repository": {**given, "url": f"{served.url}/{repository.path.name}"}}
        accepted = api.ask("POST", "/api/v2/projects", body)
        assert (accepted.status, accepted.body["resource"]) == (202, "Project/shop")
        assert api.ask("POST", "/api/v2/projects", body).status == 409
        task = api.ended(accepted)
        assert (task["state"], task["percent"]) == ("succeeded", 100.0), task
        recorded = api.ask("GET", "/api/v2/projects/shop/status").body["recorded"]
        assert (recorded["status"], recorded["progress"]) == ("active", 100)
        assert {step["status"] for step in recorded["steps"]} == {"completed"}
        assert len(recorded["steps"]) == 7
        assert len(cluster.list(SOURCES, recorded["namespace"])) == 1
        assert len(cluster.list(KUSTOMIZATIONS, recorded["namespace"])) == 3
        names = [one["name"] for one in environments(api)]
        assert names == ["Development", "Staging", "Production"]
        until(lambda: daemon.metric("reconciler_watch_streams") == 2, daemon.err)
        flux = environments(api)[1]["flux"]
        place = f"namespaces/{flux['namespace']}/"
        failed = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": NOT_READY}
        cluster.say(f"{KUSTOMIZATIONS.format(place)}/{flux['name']}", failed)
        until(lambda: environments(api)[1]["flux"]["status"] == "failed", lambda: environments(api))
        assert environments(api)[1]["flux"]["message"] == NOT_READY
        assert NOT_READY in daemon.get("/resources/Project/shop")[1]
        assert api.ended(api.ask("DELETE", "/api/v2/projects/shop"))["state"] == "succeeded"
        assert api.ask("GET", "/api/v2/projects/shop").status == 404
        assert recorded["namespace"] not in cluster.namespaces()
        assert daemon.terminate() == 0


def test_row_1_15_the_predecessors_body_makes_a_repository_fills_and_deploys_it(
    lab: ProjectLab, tmp_path: Path
) -> None:
    literal = {"provider": "github", "name": "acme/shop", "visibility": "private"}
    with forge_server("github", tmp_path / "served") as forge:
        daemon = lab.daemon(RECONCILER_SECRET_FORGE=TOKEN)
        lab.await_ready("Cluster/dev")
        api = Api(daemon.url, (lab.home / "api-token").read_text().strip())
        ours = {"apiUrl": forge.api, "auth": {"token": {"fromEnv": "RECONCILER_SECRET_FORGE"}}}  # no GitHub, but a lab
        accepted = api.ask("POST", "/api/v2/projects", {"name": "shop", "slug": "shop", "repository": literal | ours})
        assert accepted.status == 202, accepted.body
        task = api.ended(accepted)
        assert (task["state"], task["percent"]) == ("succeeded", 100.0), task
        recorded = api.ask("GET", "/api/v2/projects/shop/status").body["recorded"]
        assert (recorded["status"], recorded["progress"]) == ("active", 100)
        assert forge.written == [("POST", "/orgs/acme/repos")]
        assert forge.repositories["acme/shop"]["visibility"] == "private"
        assert "k8s/overlays/staging/kustomization.yaml" in forge.repository("acme/shop").git("ls-tree", "-r", "main")
        assert len(lab.clusters["dev"].list(KUSTOMIZATIONS, recorded["namespace"])) == 3
        assert daemon.terminate() == 0


def environments(api: Api) -> list[dict[str, Any]]:
    return list(api.ask("GET", "/api/v2/projects/shop/environments").body["environments"])
