"""A project's life on Flux: what a change writes and what it leaves, what Flux says of it, how it goes."""

from __future__ import annotations

import time

import pytest
from project_lab import KUSTOMIZATIONS, LabCluster, ProjectLab
from test_project_rows import AUTH

BLOCKED = 7
NOT_READY = "kustomization path not found: stat /tmp/k8s/overlays/development: no such file or directory"


def test_flux_case_3_another_branch_is_exactly_one_patch_and_the_secret_stays(lab: ProjectLab) -> None:
    gate, client = lab.clusters["dev"].gate, lab.clusters["dev"].client
    shop = lab.shop("branch", repository=AUTH)
    shop.environ = {"RECONCILER_SECRET_SHOP": "one"}
    shop.apply()
    before = client.get(shop.secret_path())
    files = {f"k8s/overlays/{slug}/x.yaml": "" for slug in ("development", "staging", "production")}
    shop.repository.commit(files, branch="release")
    gate.forget()
    shop.apply(repository={**AUTH, "branch": "release"})
    assert gate.writes() == [("PATCH", shop.source_path())]
    assert client.get(shop.source_path())["spec"]["ref"] == {"branch": "release"}
    assert client.get(shop.secret_path()) == before
    assert shop.plan() is None


def test_row_1_08_a_rotated_token_is_one_update_of_the_secret_and_its_type_is_kept(lab: ProjectLab) -> None:
    gate, client = lab.clusters["dev"].gate, lab.clusters["dev"].client
    shop = lab.shop("token")
    shop.apply()
    status, _ = client.call("GET", shop.secret_path())
    assert status == 404, "there is no Secret without a token"
    shop.environ = {"RECONCILER_SECRET_SHOP": "one"}
    shop.apply(repository=AUTH)
    before = client.get(shop.secret_path())
    assert sorted(before["data"]) == ["password", "username"]
    gate.forget()
    shop.environ = {"RECONCILER_SECRET_SHOP": "two"}
    shop.apply()
    after = client.get(shop.secret_path())
    assert gate.writes() == [("PATCH", shop.secret_path())]
    assert (after["type"], after["metadata"]["uid"]) == (before["type"], before["metadata"]["uid"])
    assert after["data"]["password"] != before["data"]["password"]
    shop.apply(repository={})
    status, _ = client.call("GET", shop.secret_path())
    assert status == 404, "without a token it goes again"
    assert "secretRef" not in client.get(shop.source_path())["spec"]


def test_flux_case_8_row_1_11_row_3_10_what_flux_says_stands_in_the_row(lab: ProjectLab) -> None:
    """Rows 1-11 and 3-10 as well: ready is ready, a failure is one, in Flux' own words."""
    cluster = lab.clusters["dev"]
    shop = lab.shop("says")
    shop.apply()
    assert {row["status"] for row in shop.resources()} == {"pending"}, "nobody has looked at it yet"
    ready = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "Applied"}
    for slug in ("staging", "production"):
        cluster.say(shop.kustomization_path(slug), ready, lastAppliedRevision="main@sha1:0123")
    artifact = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact"}
    cluster.say(shop.source_path(), artifact)
    failed = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": NOT_READY}
    cluster.say(shop.kustomization_path("development"), failed)
    shop.apply(code=None)
    rows = {row["name"].removeprefix(f"{shop.id[:8]}-"): row for row in shop.resources()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "repo": "ready",
        "development": "failed",
        "staging": "ready",
        "production": "ready",
    }
    row = rows["development"]
    assert (row["status_reason"], row["status_message"], row["error_message"]) == ("BuildFailed", NOT_READY, NOT_READY)
    assert rows["staging"]["last_applied_revision"] == "main@sha1:0123"
    status = lab.status(shop.ref)
    assert (status["ready"], status["reason"]) == ("False", "Unhealthy")
    assert NOT_READY in status["message"], "and people are told"
    cluster.say(shop.kustomization_path("development"), ready)
    shop.apply()
    assert {row["status"] for row in shop.resources()} == {"ready"}
    assert lab.status(shop.ref)["ready"] == "True"


def test_an_environment_that_waits_for_the_one_before_it_has_not_failed(lab: ProjectLab) -> None:
    """Flux calls it not ready and retried at once, as it does a failure: every first roll-out raised an alarm."""
    cluster = lab.clusters["dev"]
    shop = lab.shop("queue", flux={"dependsOn": True})
    shop.apply()
    before = {"name": f"{shop.id[:8]}-development"}
    assert cluster.client.get(shop.kustomization_path("staging"))["spec"]["dependsOn"] == [before]
    message = f"dependency '{shop.namespace}/{before['name']}' is not ready"
    waits = {"type": "Ready", "status": "False", "reason": "DependencyNotReady", "message": message}
    retried = {"type": "Reconciling", "status": "True", "reason": "ProgressingWithRetry", "message": "in progress"}
    cluster.say_ready()
    cluster.say(shop.kustomization_path("staging"), waits, retried, observedGeneration=-1)
    shop.apply()
    row = next(row for row in shop.resources() if row["name"].endswith("-staging"))
    assert (row["status"], row["status_reason"]) == ("reconciling", "DependencyNotReady")
    assert (row["status_message"], row["error_message"]) == (message, None), "in Flux' own words"
    status = lab.status(shop.ref)
    assert (status["ready"], shop.row["status"]) == ("True", "active"), status["message"]
    cluster.say(shop.kustomization_path("staging"), {**waits, "reason": "BuildFailed"}, retried, observedGeneration=-1)
    shop.apply(code=None)
    assert lab.status(shop.ref)["reason"] == "Unhealthy", "what has failed is said at once, as before"


def test_environments_come_go_and_move_and_nothing_is_left(lab: ProjectLab) -> None:
    cluster = lab.clusters["dev"]
    shop = lab.shop("moves", "development", "staging", "testing")
    shop.apply(environments=[{"type": "development"}, {"type": "staging"}])
    kept = {row["slug"]: row["id"] for row in lab.environments("moves")}
    cluster.gate.forget()
    shop.apply(environments=[{"type": "development"}, {"type": "testing", "namespace": "qa"}])
    names = {one["metadata"]["name"].partition("-")[2] for one in cluster.list(KUSTOMIZATIONS, shop.namespace)}
    assert names == {"development", "testing"}
    assert ("DELETE", shop.kustomization_path("staging")) in cluster.gate.writes()
    assert "qa" in cluster.namespaces()
    live = cluster.client.get(shop.kustomization_path("testing"))
    assert live["spec"]["targetNamespace"] == "qa"
    rows = {row["slug"]: row["id"] for row in lab.environments("moves")}
    assert sorted(rows) == ["development", "testing"]
    assert rows["development"] == kept["development"], "which keeps its id"
    assert len(shop.resources()) == 3
    shop.apply(environments=[{"type": "development", "name": "Dev"}])
    assert "qa" not in cluster.namespaces(), "its namespace was ours alone"
    assert [row["name"] for row in lab.environments("moves")] == ["Dev"]
    assert shop.plan() is None


def test_a_project_moves_to_another_cluster_with_leave_and_under_its_id(lab: ProjectLab, prod: LabCluster) -> None:
    dev = lab.clusters["dev"]
    shop = lab.shop("mover", "testing", environments=[{"type": "testing"}])
    shop.apply()
    project_id, namespace = shop.id, shop.namespace
    environment = lab.environments("mover")[0]["id"]
    text = shop.apply(code=BLOCKED, cluster="prod")
    assert "spec.cluster" in text
    assert namespace in dev.namespaces(), "without leave nothing is touched"
    shop.lifecycle = {"replace": "allow"}
    shop.apply()
    assert (shop.id, lab.environments("mover")[0]["id"]) == (project_id, environment)
    assert namespace not in dev.namespaces()
    assert namespace in prod.namespaces()
    assert len(prod.list(KUSTOMIZATIONS, namespace)) == 1
    assert {row["cluster"] for row in shop.resources()} == {"prod"}
    assert shop.plan() is None


def test_a_namespace_that_is_somebody_elses_is_used_and_left_as_it_is(lab: ProjectLab) -> None:
    client = lab.clusters["dev"].client
    for name in ("theirs", "theirs-too"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": "x"}}}
        assert client.call("POST", "/api/v1/namespaces", body)[0] == 201
    before = [client.get(f"/api/v1/namespaces/{name}") for name in ("theirs", "theirs-too")]
    shop = lab.shop("guest", "testing")
    shop.apply(namespace="theirs", environments=[{"type": "testing", "namespace": "theirs-too"}])
    assert len(lab.clusters["dev"].list(KUSTOMIZATIONS, "theirs")) == 1
    shop.lifecycle = {"state": "absent"}
    shop.apply()
    assert lab.clusters["dev"].list(KUSTOMIZATIONS, "theirs") == []
    assert [client.get(f"/api/v1/namespaces/{name}") for name in ("theirs", "theirs-too")] == before


def test_environments_that_would_clash_get_a_namespace_each(lab: ProjectLab) -> None:
    cluster = lab.clusters["dev"]
    shop = lab.shop("clash", "same")
    path = "./k8s/overlays/same"
    shop.apply(environments=[{"type": "development", "path": path}, {"type": "staging", "path": path}])
    found = cluster.list(KUSTOMIZATIONS, shop.namespace)
    targets = {one["metadata"]["name"].partition("-")[2]: one["spec"]["targetNamespace"] for one in found}
    assert targets == {slug: f"{shop.namespace}-{slug}" for slug in ("development", "staging")}
    assert {*targets.values()} <= {*cluster.namespaces()}
    assert shop.plan() is None


def test_an_environment_in_another_cluster_is_there_with_all_that_it_reads(lab: ProjectLab, prod: LabCluster) -> None:
    shop = lab.shop("two", "development", "production")
    shop.apply(environments=[{"type": "development"}, {"type": "production", "cluster": "prod"}])
    assert [one["metadata"]["name"] for one in prod.list(KUSTOMIZATIONS, shop.namespace)] == [
        f"{shop.id[:8]}-production"
    ]
    assert prod.client.get(shop.source_path())["spec"]["url"] == shop.repository.url
    assert sorted((row["type"], row["cluster"]) for row in shop.resources()) == [
        ("git-repository", "dev"),
        ("git-repository", "prod"),
        ("kustomization", "dev"),
        ("kustomization", "prod"),
    ]
    assert shop.plan() is None
    shop.apply(environments=[{"type": "development"}])
    assert shop.namespace not in prod.namespaces(), "and nothing of it stays there"


def test_a_field_of_somebody_else_is_reported_and_taken_over_only_on_request(lab: ProjectLab) -> None:
    client = lab.clusters["dev"].client
    shop = lab.shop("owned")
    shop.apply()
    path = shop.kustomization_path("staging")
    theirs = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": path.rpartition("/")[2], "namespace": shop.namespace},
        "spec": {"interval": "9m"},
    }
    status, answer = client.call(
        "PATCH", f"{path}?fieldManager=somebody&force=true", theirs, Content_Type="application/apply-patch+yaml"
    )
    assert status == 200, answer
    text = shop.apply(code=BLOCKED)
    assert "somebody" in text
    assert "flux.force" in text
    assert client.get(path)["spec"]["interval"] == "9m"
    assert (shop.steps()["setup_gitops"], shop.row["status"]) == ("failed", "failed")
    shop.apply(flux={"force": True})
    assert client.get(path)["spec"]["interval"] == "1m"
    assert {*shop.steps().values()} == {"completed"}
    assert shop.row["status"] == "active"


def test_row_1_17_flux_case_9_a_deleted_project_leaves_nothing_also_when_parts_were_deleted_by_hand(
    lab: ProjectLab,
) -> None:
    cluster = lab.clusters["dev"]
    shop = lab.shop("goes", repository=AUTH)
    shop.environ = {"RECONCILER_SECRET_SHOP": "one"}
    shop.apply()
    namespace, project_id = shop.namespace, shop.id
    for path in (shop.kustomization_path("staging"), shop.source_path()):
        assert cluster.client.call("DELETE", path)[0] == 200
    shop.lifecycle = {"state": "absent"}
    shop.apply()
    assert namespace not in cluster.namespaces()
    assert cluster.client.call("GET", f"/api/v1/namespaces/{namespace}")[0] == 404
    for table in ("environments", "repositories", "gitops_resources", "project_initialization_steps"):
        assert lab.rows(f"SELECT * FROM {table} WHERE project_id = ?", project_id) == []
    assert lab.rows("SELECT * FROM projects WHERE id = ?", project_id) == []


def test_a_project_whose_document_is_gone_is_pruned_without_its_secrets(lab: ProjectLab) -> None:
    """All that is left to go by is what was stored: the token only as a digest."""
    cluster = lab.clusters["dev"]
    stays, goes = lab.shop("stays"), lab.shop("pruned", repository=AUTH)
    goes.environ = {"RECONCILER_SECRET_SHOP": "one"}
    both = lab.root / "both"
    both.mkdir()
    for shop in (stays, goes):
        (both / f"{shop.name}.yaml").write_text(shop.write().read_text())
    lab.ok("apply", both, "--yes", **goes.environ)
    namespace = goes.namespace
    (both / "pruned.yaml").unlink()
    lab.ok("apply", both, "--yes", "--limit", "Project/pruned", "--prune")
    assert namespace not in cluster.namespaces()
    assert lab.rows("SELECT * FROM projects WHERE resource = 'pruned'") == []
    assert stays.namespace in cluster.namespaces()


def test_a_namespace_that_another_project_is_put_into_stays_for_that_one(lab: ProjectLab) -> None:
    """Also when it is empty just then: it becomes the other's, and goes with it."""
    dev = lab.clusters["dev"]
    first, second = (lab.shop(name, "testing") for name in ("shares-1", "shares-2"))
    for shop in (first, second):
        shop.apply(environments=[{"type": "testing", "namespace": "apps-shared"}])
    assert "apps-shared" in dev.namespaces()
    first.lifecycle["state"] = "absent"
    first.apply()
    assert "apps-shared in cluster dev stays: Project/shares-2 is put into it" in lab.run("logs", first.ref).text
    live = dev.client.get("/api/v1/namespaces/apps-shared")
    assert live["metadata"]["labels"]["reconciler.dev/project-id"] == second.id
    assert second.plan() is None
    second.lifecycle["state"] = "absent"
    second.apply()
    assert "apps-shared" not in dev.namespaces()


def test_what_is_not_ours_holds_up_the_deletion_of_its_namespace_alone(lab: ProjectLab) -> None:
    client = lab.clusters["dev"].client
    shop = lab.shop("holds")
    shop.apply()
    namespace = shop.namespace
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "precious"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert client.call("POST", path, body)[0] == 201
    shop.lifecycle = {"state": "absent"}
    text = shop.apply(code=BLOCKED)
    assert f"Namespace {namespace} in cluster dev holds what is not of this project: ConfigMap precious" in text
    assert client.get(f"{path}/precious")
    assert lab.clusters["dev"].list(KUSTOMIZATIONS, namespace) == [], "what is ours has gone all the same"
    assert client.call("DELETE", f"{path}/precious")[0] == 200
    shop.apply()
    assert client.call("GET", f"/api/v1/namespaces/{namespace}")[0] == 404


def test_a_finalizer_that_nobody_removes_is_named(lab: ProjectLab) -> None:
    lab.configure(kinds={"Project": {"deleteTimeout": "1s"}})
    client = lab.clusters["dev"].client
    shop = lab.shop("held")
    shop.apply()
    path = shop.kustomization_path("staging")
    body = {"metadata": {"finalizers": ["finalizers.fluxcd.io"]}}
    assert client.call("PATCH", path, body, Content_Type="application/merge-patch+json")[0] == 200
    shop.lifecycle = {"state": "absent"}
    text = shop.apply(code=None)
    assert "finalizers.fluxcd.io" in text
    assert "whose controller has to run" in text
    body = {"metadata": {"finalizers": None}}
    assert client.call("PATCH", path, body, Content_Type="application/merge-patch+json")[0] == 200
    shop.apply()
    assert lab.rows("SELECT * FROM projects WHERE resource = 'held'") == []


@pytest.mark.parametrize("mode", ["ready", "never"])
def test_row_3_11_waiting_for_ready_is_a_step_of_its_own(lab: ProjectLab, mode: str) -> None:
    """At Ready it is completed; when that takes too long the result is TIMEOUT, and what was made stays."""
    cluster = lab.clusters["dev"]
    shop = lab.shop(f"waits-{mode}", wait={"ready": True, "timeout": "60s" if mode == "ready" else "1s"})
    process = shop.start()
    if mode == "ready":
        give_up = time.monotonic() + 45
        while not lab.rows("SELECT * FROM projects WHERE resource = ? AND status = 'active'", shop.name):
            assert time.monotonic() < give_up, process.err()
            time.sleep(0.02)
        assert shop.steps().get("wait_ready") != "completed"
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "it is"}
        for path in (shop.source_path(), *map(shop.kustomization_path, ("development", "staging", "production"))):
            cluster.say(path, ready)
        assert process.wait() == 0, process.err()
        assert shop.steps()["wait_ready"] == "completed"
        assert {row["status"] for row in shop.resources()} == {"ready"}
        return
    assert process.wait() != 0
    assert "TIMEOUT" in process.out() + process.err()
    assert shop.steps()["wait_ready"] == "failed"
    assert shop.row["status"] == "active", "everything is there; readiness is another question"
    assert len(cluster.list(KUSTOMIZATIONS, shop.namespace)) == 3
    row = lab.init_steps(shop.name)[-1]
    assert 1000 <= row["duration"] <= 6000
    assert lab.status(shop.ref)["ready"] == "False"
