"""Lists, watches and discovery as clients ask for them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conformance_tools import Kubectl, config_map
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from test_conformance_client import raw

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def fill(core: Any, namespace: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        body = {"metadata": {"name": f"page-{number:03}", "labels": {"paged": "yes"}}}
        core.create_namespaced_config_map(namespace, body)


def refused(call: Any, *arguments: Any, **parameters: Any) -> dict[str, Any]:
    """The Status of a call that is refused."""
    with pytest.raises(ApiException) as error:
        call(*arguments, **parameters)
    status: dict[str, Any] = json.loads(error.value.body)
    assert status["code"] == error.value.status
    return status


# --- lists ----------------------------------------------------------------------------------------------------------


def test_a_page_says_how_much_is_left_and_can_be_asked_for_again(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    fill(core, namespace, 5)
    first = core.list_namespaced_secret(namespace, limit=500)
    assert first.metadata._continue is None
    first = core.list_namespaced_config_map(namespace, limit=2)
    rest = first.metadata.remaining_item_count
    assert rest >= 3
    pages = [core.list_namespaced_config_map(namespace, limit=2, _continue=first.metadata._continue) for _ in range(2)]
    assert [one.metadata.name for one in pages[0].items] == [one.metadata.name for one in pages[1].items]
    assert pages[0].metadata.remaining_item_count == rest - 2
    assert {one.metadata.resource_version for one in pages} == {first.metadata.resource_version}


def test_pages_show_one_moment_whatever_is_written_meanwhile(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    fill(core, namespace, 6)
    page = core.list_namespaced_config_map(namespace, label_selector="paged=yes", limit=2)
    names = [one.metadata.name for one in page.items]
    core.delete_namespaced_config_map("page-003", namespace)
    core.patch_namespaced_config_map("page-004", namespace, {"data": {"late": "1"}})
    core.patch_namespaced_config_map("page-005", namespace, {"metadata": {"labels": {"paged": "no"}}})
    fill(core, namespace, 2, first=10)
    changed: dict[str, Any] = {}
    while page.metadata._continue:
        token = page.metadata._continue
        page = core.list_namespaced_config_map(namespace, label_selector="paged=yes", limit=2, _continue=token)
        names += [one.metadata.name for one in page.items]
        changed |= {one.metadata.name: one.data for one in page.items}
    assert names == [f"page-{number:03}" for number in range(6)]
    assert changed["page-004"] is None


def test_a_list_can_be_of_an_exact_past_moment(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    fill(core, namespace, 2)
    then = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.delete_namespaced_config_map("page-000", namespace)
    listed = core.list_namespaced_config_map(
        namespace, label_selector="paged=yes", resource_version=then, resource_version_match="Exact"
    )
    assert [one.metadata.name for one in listed.items] == ["page-000", "page-001"]
    assert listed.metadata.resource_version == then
    newer = core.list_namespaced_config_map(
        namespace, label_selector="paged=yes", resource_version=then, resource_version_match="NotOlderThan"
    )
    assert int(newer.metadata.resource_version) >= int(then)


def test_a_list_that_makes_no_sense_is_refused(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    listing = core.list_namespaced_config_map
    assert refused(listing, namespace, resource_version_match="Exact")["code"] == 422
    assert refused(listing, namespace, resource_version="1", resource_version_match="Most")["code"] == 422
    assert refused(listing, namespace, resource_version="0", resource_version_match="Exact")["code"] == 422
    assert refused(listing, namespace, _continue="no-token")["code"] == 400
    assert refused(listing, namespace, resource_version="first")["code"] == 400


# --- watches --------------------------------------------------------------------------------------------------------


def lines(api_client: Any, path: str) -> Any:
    """The events of one watch, as they come."""
    configuration = api_client.configuration
    sent = {one["key"]: one["value"] for one in configuration.auth_settings().values() if one["in"] == "header"}
    pool = api_client.rest_client.pool_manager
    response = pool.request("GET", configuration.host + path, headers=sent, preload_content=False)
    assert response.status == 200, response.data
    buffer = b""
    for part in response.stream(4096):
        buffer += part
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            if line.strip():
                yield json.loads(line)
    response.release_conn()


def test_a_watch_ends_in_time_with_bookmarks_that_name_a_version(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    fill(core, namespace, 1)
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    place = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
    started = time.monotonic()
    for event in lines(api_client, f"{place}&timeoutSeconds=2"):
        assert event["type"] == "BOOKMARK"
        assert int(event["object"]["metadata"]["resourceVersion"]) >= int(version)
    assert time.monotonic() - started < 60


def test_a_watch_from_a_version_that_was_forgotten_says_expired(api_client: Any, namespace: str) -> None:
    place = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&resourceVersion=1&timeoutSeconds=2"
    status, answer, _ = raw(api_client, "GET", place)
    if status == 200 and not isinstance(answer, dict):
        pytest.skip("version 1 is still remembered")
    told = answer if status == 410 else answer["object"]
    if told.get("kind") != "Status":
        pytest.skip("version 1 is still remembered")
    assert (told["code"], told["reason"]) == (410, "Expired")


def test_a_list_can_be_streamed(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    fill(core, namespace, 3)
    place = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&labelSelector=paged%3Dyes&timeoutSeconds=20"
    asked = f"{place}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    status, answer, _ = raw(api_client, "GET", f"{asked}&timeoutSeconds=1")
    if status == 422 and "forbidden" in json.dumps(answer).lower():
        pytest.skip("the server under test streams no lists")
    seen = []
    for event in lines(api_client, asked):
        metadata = event["object"]["metadata"]
        if event["type"] == "BOOKMARK":
            assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
            break
        seen.append((event["type"], metadata["name"]))
    assert sorted(seen) == [("ADDED", f"page-{number:03}") for number in range(3)]
    assert raw(api_client, "GET", f"{place}&sendInitialEvents=true")[0] == 422


def test_kubectl_watches_until_its_time_is_over(kubectl: Kubectl, tmp_path: Path) -> None:
    import os

    environment = {"PATH": os.environ["PATH"], "HOME": str(kubectl.home), "KUBECONFIG": str(kubectl.kubeconfig)}
    command = ["kubectl", "-n", kubectl.namespace, "get", "configmap", "-l", "w=1", "-w", "-o", "name"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        assert watching.stdout is not None
        for name in ("one", "two"):
            body = config_map(name)
            body["metadata"]["labels"] = {"w": "1"}
            kubectl.ok("create", "-f", "-", stdin=body)
            assert watching.stdout.readline() == f"configmap/{name}\n"
        watching.terminate()


# --- discovery and OpenAPI ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_discovery_says_what_the_lists_say(api_client: Any, version: str) -> None:
    accept = f"{AGGREGATED.format(version)},application/json"
    status, found, headers = raw(api_client, "GET", "/apis", Accept=accept)
    if version not in headers["content-type"]:
        pytest.skip(f"the server under test does not know {version}")
    assert (status, found["kind"]) == (200, "APIGroupDiscoveryList")
    assert found["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    assert "as=APIGroupDiscoveryList" in headers["content-type"]
    groups = {one["metadata"]["name"]: one for one in found["items"]}
    assert set(groups) == {one["name"] for one in raw(api_client, "GET", "/apis")[1]["groups"]}
    for name in ("apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"):
        (one,) = [one for one in groups[name]["versions"] if one["version"] == "v1"]
        plain = raw(api_client, "GET", f"/apis/{name}/v1")[1]["resources"]
        listed = {one["resource"]: one for one in one["resources"]}
        assert set(listed) == {one["name"] for one in plain if "/" not in one["name"]}
        for entry in plain:
            if "/" not in entry["name"]:
                assert set(listed[entry["name"]]["verbs"]) == set(entry["verbs"])
                assert listed[entry["name"]]["responseKind"]["kind"] == entry["kind"]


def test_discovery_in_the_order_of_what_is_accepted(api_client: Any) -> None:
    both = f"{AGGREGATED.format('v9')},{AGGREGATED.format('v2')},application/json"
    assert raw(api_client, "GET", "/api", Accept=both)[1]["kind"] == "APIGroupDiscoveryList"
    assert raw(api_client, "GET", "/api", Accept="application/json")[1]["kind"] == "APIVersions"
    assert raw(api_client, "GET", "/apis", Accept="*/*")[1]["kind"] == "APIGroupList"


def test_unchanged_discovery_is_not_sent_again(api_client: Any) -> None:
    _, _, headers = raw(api_client, "GET", "/api", Accept=AGGREGATED.format("v2"))
    again = raw(api_client, "GET", "/api", Accept=AGGREGATED.format("v2"), If_None_Match=headers["etag"])
    assert again[0] == 304


def test_openapi_v2_describes_what_is_served(api_client: Any, widgets: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        status, document, headers = raw(api_client, "GET", "/openapi/v2", Accept="application/json")
        assert (status, document["swagger"]) == (200, "2.0")
        if any(widgets in path for path in document["paths"]):
            break
        assert time.monotonic() < deadline
        time.sleep(1)
    assert headers["content-type"].startswith("application/json")
    kinds = {
        (kind["group"], kind["version"], kind["kind"]): name
        for name, schema in document["definitions"].items()
        for kind in schema.get("x-kubernetes-group-version-kind", ())
    }
    for wanted in (("apps", "v1", "Deployment"), ("batch", "v1", "Job"), ("", "v1", "Pod")):
        assert wanted in kinds
    text = json.dumps(document)
    assert "#/components/" not in text
    names = set(document["definitions"])
    for part in text.split('"$ref": "#/definitions/')[1:]:
        assert part.partition('"')[0] in names
    path = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert path["patch"]["x-kubernetes-action"] == "patch"


def test_openapi_v2_is_read_by_clients_that_read_protobuf(api_client: Any) -> None:
    wanted = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    status, document, headers = raw(api_client, "GET", "/openapi/v2", Accept=wanted)
    assert status == 200
    assert "protobuf" in headers["content-type"]
    assert b"Deployment" in document
    assert raw(api_client, "GET", "/openapi/v2", Accept="text/html")[0] == 406


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("deployment.spec.strategy.rollingUpdate.maxSurge", "maxSurge"),
        ("statefulset.spec.volumeClaimTemplates", "volumeClaimTemplates"),
        ("job.spec.completions", "completions <integer>"),
        ("cronjob.spec.jobTemplate", "jobTemplate"),
        ("ingress.spec.rules.http.paths.backend", "backend"),
        ("networkpolicy.spec.podSelector", "podSelector"),
        ("role.rules.verbs", "verbs <[]string>"),
        ("events.v1.events.k8s.io", "KIND:       Event"),
        ("hpa.spec.metrics", "metrics"),
        ("pdb.spec.minAvailable", "minAvailable"),
    ],
)
def test_explain(admin_kubectl: Kubectl, path: str, expected: str) -> None:
    if path.startswith("events.v1"):
        assert expected in admin_kubectl.ok("explain", "events", "--api-version=events.k8s.io/v1")
    else:
        assert expected in admin_kubectl.ok("explain", path)


def test_explain_of_a_custom_type(admin_kubectl: Kubectl, widgets: str) -> None:
    deadline = time.monotonic() + 60
    while "size" not in admin_kubectl.run("explain", f"{widgets}.spec").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_events_are_the_same_in_both_groups(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    regarding = {"kind": "ConfigMap", "namespace": namespace, "name": "one", "apiVersion": "v1"}
    core.create_namespaced_event(
        namespace,
        {
            "metadata": {"name": "old"},
            "involvedObject": regarding,
            "reason": "Made",
            "message": "by hand",
            "type": "Normal",
            "source": {"component": "test"},
        },
    )
    place = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    status, found, _ = raw(api_client, "GET", f"{place}/old")
    assert status == 200
    assert (found["apiVersion"], found["note"], found["regarding"]["name"]) == ("events.k8s.io/v1", "by hand", "one")
    new = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "new", "namespace": namespace},
        "eventTime": "2024-01-01T00:00:00.000000Z",
        "reportingController": "example.com/test",
        "reportingInstance": "test-1",
        "action": "Testing",
        "reason": "Made",
        "note": "by another",
        "type": "Normal",
        "regarding": regarding,
    }
    assert raw(api_client, "POST", place, new)[0] == 201
    read = core.read_namespaced_event("new", namespace)
    assert (read.message, read.involved_object.name, read.reporting_component) == (
        "by another",
        "one",
        "example.com/test",
    )
    listed = core.list_namespaced_event(namespace, field_selector="involvedObject.name=one,reason=Made")
    assert {one.metadata.name for one in listed.items} == {"old", "new"}
    assert {one["metadata"]["name"] for one in raw(api_client, "GET", place)[1]["items"]} == {"old", "new"}


def test_autoscalers_are_read_in_both_versions(kubectl: Kubectl) -> None:
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "targetCPUUtilizationPercentage": 60,
        },
    }
    kubectl.ok("create", "-f", "-", stdin=body)
    newer = kubectl.json("horizontalpodautoscalers.v2.autoscaling", "web")["spec"]
    assert newer["metrics"][0]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 60},
    }
    kubectl.ok(
        "patch", "horizontalpodautoscalers.v2.autoscaling", "web", "--type=merge", "-p", '{"spec":{"maxReplicas":5}}'
    )
    older = kubectl.json("horizontalpodautoscalers.v1.autoscaling", "web")["spec"]
    assert (older["maxReplicas"], older["targetCPUUtilizationPercentage"], older["minReplicas"]) == (5, 60, 1)
