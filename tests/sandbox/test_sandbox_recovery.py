"""kill -9 in the middle of what controllers do: after the next start everything ends where it would have ended."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sandbox_server import ApiClient, Sandbox

MERGE = "application/merge-patch+json"
APPS = "/apis/apps/v1/namespaces/default"
CORE = "/api/v1/namespaces/default"


@pytest.fixture
def cluster_of_three(sandbox: Sandbox) -> Iterator[ApiClient]:
    client = ApiClient(sandbox.create("dev", agents=2))
    yield client
    client.close()


def crash(sandbox: Sandbox, client: ApiClient) -> None:
    sandbox.kill()
    client.close()
    sandbox.start()


def spec(name: str, image: str, replicas: int | None) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    wanted: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return wanted if replicas is None else {**wanted, "replicas": replicas}


def pods_of(client: ApiClient, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"{CORE}/pods?labelSelector=app%3D{name}")["items"]
    return found


def settled(look: Any, within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, look
        time.sleep(0.05)


@pytest.mark.parametrize("seed", range(2))
def test_rollouts_that_are_killed_again_and_again_still_end(
    sandbox: Sandbox, cluster_of_three: ApiClient, seed: int
) -> None:
    random_, client = random.Random(seed), cluster_of_three
    kinds = {"deployments": ("web", 9), "statefulsets": ("db", 4), "daemonsets": ("agent", None)}
    for plural, (name, replicas) in kinds.items():
        body = {"metadata": {"name": name}, "spec": spec(name, "x:1", replicas)}
        if plural == "statefulsets":
            body["spec"]["serviceName"] = name
        assert client.call("POST", f"{APPS}/{plural}", body)[0] == 201
    for version in (2, 3):
        crash(sandbox, client)
        for plural, (name, replicas) in kinds.items():
            patch = {"spec": spec(name, f"x:{version}", replicas)}
            assert client.call("PATCH", f"{APPS}/{plural}/{name}", patch, Content_Type=MERGE)[0] == 200
        time.sleep(random_.uniform(0, 0.25))
    crash(sandbox, client)

    def done(name: str, wanted: int) -> bool:
        found = pods_of(client, name)
        images = {one["spec"]["containers"][0]["image"] for one in found}
        return len(found) == wanted and images == {"x:3"} and all(one["status"]["phase"] == "Running" for one in found)

    for name, wanted in (("web", 9), ("db", 4), ("agent", 3)):
        settled(lambda name=name, wanted=wanted: done(name, wanted))
    assert sorted(one["metadata"]["name"] for one in pods_of(client, "db")) == [f"db-{index}" for index in range(4)]
    sets = client.get(f"{APPS}/replicasets")["items"]
    assert sorted(one["spec"]["replicas"] for one in sets)[-2:] in ([9], [0, 9])
    numbers = [one["revision"] for one in client.get(f"{APPS}/controllerrevisions?labelSelector=app%3Ddb")["items"]]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("seed", range(2))
def test_a_job_that_is_killed_again_and_again_counts_every_pod_once(
    sandbox: Sandbox, cluster_of_three: ApiClient, seed: int
) -> None:
    random_, client = random.Random(seed), cluster_of_three
    template = spec("sum", "x:1", None)["template"]
    template["spec"]["restartPolicy"] = "Never"
    body = {"metadata": {"name": "sum"}, "spec": {"template": template, "completions": 60, "parallelism": 7}}
    assert client.call("POST", "/apis/batch/v1/namespaces/default/jobs", body)[0] == 201
    for _ in range(3):
        time.sleep(random_.uniform(0, 0.15))
        crash(sandbox, client)
    place = "/apis/batch/v1/namespaces/default/jobs/sum"
    found = client.eventually(place, lambda _, job: "completionTime" in job.get("status", {}), within=90)
    assert found["status"]["succeeded"] == 60
    assert "failed" not in found["status"]
    ended = pods_of(client, "sum")
    assert [one["status"]["phase"] for one in ended] == ["Succeeded"] * 60
    assert not any(one["metadata"].get("finalizers") for one in ended)


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_garbage_collection_that_is_killed_ends_as_it_was_asked_to(
    sandbox: Sandbox, cluster_of_three: ApiClient, policy: str
) -> None:
    random_, client = random.Random(policy), cluster_of_three
    assert (
        client.call("POST", f"{APPS}/deployments", {"metadata": {"name": "web"}, "spec": spec("web", "x:1", 40)})[0]
        == 201
    )
    settled(lambda: len(pods_of(client, "web")) == 40)
    assert client.call("DELETE", f"{APPS}/deployments/web?propagationPolicy={policy}")[0] == 200
    for _ in range(2):
        time.sleep(random_.uniform(0, 0.05))
        crash(sandbox, client)
    settled(lambda: client.call("GET", f"{APPS}/deployments/web")[0] == 404)
    if policy == "Orphan":
        (kept,) = client.get(f"{APPS}/replicasets")["items"]
        assert "ownerReferences" not in kept["metadata"]
        assert len(pods_of(client, "web")) == 40
    else:
        settled(lambda: not client.get(f"{APPS}/replicasets")["items"])
        settled(lambda: not pods_of(client, "web"))


def test_a_namespace_with_jobs_and_sets_is_emptied_after_a_crash(sandbox: Sandbox, cluster_of_three: ApiClient) -> None:
    client = cluster_of_three
    namespace = client.namespace()
    template = spec("sum", "x:1", None)["template"]
    template["spec"]["restartPolicy"] = "Never"
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    client.call("POST", jobs, {"metadata": {"name": "sum"}, "spec": {"template": template, "completions": 30}})
    sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    client.call("POST", sets, {"metadata": {"name": "db"}, "spec": {**spec("db", "x:1", 5), "serviceName": "db"}})
    assert client.call("DELETE", f"/api/v1/namespaces/{namespace}")[0] == 200
    crash(sandbox, client)
    settled(lambda: client.call("GET", f"/api/v1/namespaces/{namespace}")[0] == 404)
