"""What holds for the sandbox in particular: what it leaves out, its controllers, its tables, its watch window."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from typing import Any

import pytest
from sandbox_server import ApiClient, Sandbox

from reconciler.sandbox.state import REMEMBERED_EVENTS

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
APPLY = "application/apply-patch+yaml"


def deployment(name: str = "web", replicas: int = 2, image: str = "x:1") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}},
        },
    }


def rolled_out(replicas: int) -> Any:
    """Whether a Deployment has exactly `replicas`, all current and available."""

    def check(status: int, found: Any) -> bool:
        counts = found.get("status", {})
        seen = counts.get("observedGeneration") == found["metadata"]["generation"]
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        return status == 200 and seen and all(counts.get(name, 0) == replicas for name in names)

    return check


@pytest.mark.parametrize(
    "path",
    [
        "/apis/certificates.k8s.io/v1/certificatesigningrequests",
        "/api/v1/podtemplates",
        "/api/v1/namespaces/default/pods/a/log",
        "/api/v1/namespaces/default/pods/a/eviction",
        "/api/v1/namespaces/default/configmaps/a/status",
        "/api/v1/watch/pods",
        "/api/v1/nodes/x/y/z",
        "/api/v1/pods/named-without-namespace",
        "/apis/apps/v2/deployments",
        "/metrics",
    ],
)
def test_a_type_or_path_outside_the_list_is_404_for_every_method(api: ApiClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        status, answer = api.call(method, path, {} if method != "GET" else None)
        assert (status, answer["reason"]) == (404, "NotFound"), method


def test_discovery_lists_only_what_is_served(api: ApiClient) -> None:
    listed = {one["name"]: one for one in api.get("/apis/apps/v1")["resources"]}
    assert set(listed) == {
        *(
            f"{name}{sub}"
            for name in ("deployments", "replicasets", "statefulsets")
            for sub in ("", "/status", "/scale")
        ),
        "daemonsets",
        "daemonsets/status",
        "controllerrevisions",
    }
    core = {one["name"] for one in api.get("/api/v1")["resources"]}
    for name in core - {one for one in core if "/" in one}:
        assert api.call("GET", f"/api/v1/{name}")[0] == 200
    groups = [one["name"] for one in api.get("/apis")["groups"]]
    assert {"apiextensions.k8s.io", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"} <= set(groups)
    for version in ("v2", "v2beta1"):
        accept = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        status, aggregated = api.call("GET", "/apis", Accept=accept)
        assert (status, aggregated["kind"]) == (200, "APIGroupDiscoveryList")
        assert aggregated["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        assert [one["metadata"]["name"] for one in aggregated["items"]] == groups


def test_only_the_health_and_version_paths_need_no_token(api: ApiClient) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert api.call("GET", path, Authorization="")[0] == 200
    for path in (
        "/api",
        "/apis",
        "/api/v1",
        "/api/v1/namespaces",
        "/openapi/v3",
        "/",
        "/nothing",
        "/api/v1/pods?watch=1",
    ):
        for header in (
            "",
            "Bearer",
            "Bearer wrong",
            f"Basic {api.cluster['token']}",
            f"Bearer {api.cluster['token']}x",
        ):
            status, answer = api.call("GET", path, Authorization=header)
            assert (status, answer["reason"]) == (401, "Unauthorized"), (path, header)


def test_a_deployment_becomes_ready_pods_on_ready_nodes(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    api.call("POST", place.removesuffix("/web"), deployment(replicas=4))
    found = api.eventually(place, rolled_out(4))
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions == {"Available": "True", "Progressing": "True"}
    pods = api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    assert {one["status"]["phase"] for one in pods} == {"Running"}
    assert {one["spec"]["nodeName"] for one in pods} == {"shared-server-0", "shared-agent-0"}
    assert len({one["status"]["podIP"] for one in pods}) == 4
    (replica_set,) = api.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]
    assert {one["metadata"]["ownerReferences"][0]["uid"] for one in pods} == {replica_set["metadata"]["uid"]}
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]


def test_a_new_template_rolls_out_and_a_lost_pod_is_replaced(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    api.call("POST", place.removesuffix("/web"), deployment())
    api.eventually(place, rolled_out(2))
    status, _ = api.call("PATCH", f"{place}?fieldManager=x&force=true", deployment(image="x:2"), Content_Type=APPLY)
    assert status == 200
    api.eventually(place, rolled_out(2))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    found = api.eventually(pods, lambda _, listed: len(listed["items"]) == 2)["items"]
    assert {one["spec"]["containers"][0]["image"] for one in found} == {"x:2"}
    assert api.call("DELETE", f"{pods}/{found[0]['metadata']['name']}")[0] == 200
    names = {one["metadata"]["name"] for one in found}
    api.eventually(
        pods,
        lambda _, listed: len(listed["items"]) == 2 and {one["metadata"]["name"] for one in listed["items"]} != names,
    )


def test_deleting_a_deployment_takes_its_replica_sets_and_pods_along(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    api.call("POST", place.removesuffix("/web"), deployment())
    api.eventually(place, rolled_out(2))
    api.call("DELETE", place)
    for path in (f"/apis/apps/v1/namespaces/{namespace}/replicasets", f"/api/v1/namespaces/{namespace}/pods"):
        api.eventually(path, lambda _, listed: not listed["items"])


def test_pods_wait_without_a_node_and_move_when_theirs_is_gone(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev", servers=1, agents=1)
    client = ApiClient(cluster)
    body = deployment(replicas=1)
    body["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    client.call("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    pods = "/api/v1/namespaces/default/pods"

    def unschedulable(_: int, listed: Any) -> bool:
        conditions = [one for pod in listed["items"] for one in pod["status"].get("conditions", ())]
        return [one["reason"] for one in conditions] == ["Unschedulable"]

    client.eventually(pods, unschedulable)
    patch = {"metadata": {"labels": {"disk": "fast"}}}
    merge = "application/merge-patch+json"
    client.call("PATCH", "/api/v1/nodes/dev-agent-0", patch, Content_Type=merge)
    client.eventually("/apis/apps/v1/namespaces/default/deployments/web", rolled_out(1))
    client.call("PATCH", "/api/v1/nodes/dev-server-0", patch, Content_Type=merge)
    sandbox.create("dev", servers=1, agents=0)
    moved = client.eventually(
        pods, lambda _, listed: [one["spec"].get("nodeName") for one in listed["items"]] == ["dev-server-0"]
    )
    assert moved["items"][0]["status"]["phase"] == "Running"
    client.close()


def test_work_that_a_crash_cut_off_is_done_after_the_next_start(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev")
    client = ApiClient(cluster)
    client.call("POST", "/apis/apps/v1/namespaces/default/deployments", deployment(replicas=20))
    sandbox.kill()
    client.close()
    sandbox.start()
    client.eventually("/apis/apps/v1/namespaces/default/deployments/web", rolled_out(20))
    assert len(client.get("/api/v1/namespaces/default/pods")["items"]) == 20
    client.close()


def table(api: ApiClient, path: str) -> tuple[list[str], list[list[Any]]]:
    status, found = api.call("GET", path, Accept=TABLE)
    assert (status, found["kind"]) == (200, "Table")
    return [one["name"] for one in found["columnDefinitions"] if not one["priority"]], [
        [
            cell
            for cell, column in zip(one["cells"], found["columnDefinitions"], strict=True)
            if not column["priority"] and column["name"] != "Age"
        ]
        for one in found["rows"]
    ]


def test_tables_say_what_kubectl_prints(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.call("POST", place, deployment())
    api.eventually(f"{place}/web", rolled_out(2))
    assert table(api, place) == (["Name", "Ready", "Up-to-date", "Available", "Age"], [["web", "2/2", 2, 2]])
    columns, rows = table(api, f"/api/v1/namespaces/{namespace}/pods")
    assert columns == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert [row[1:] for row in rows] == [["1/1", "Running", "0"]] * 2
    columns, rows = table(api, "/api/v1/nodes")
    assert columns == ["Name", "Status", "Roles", "Age", "Version"]
    assert rows == [
        ["shared-agent-0", "Ready", "<none>", "v1.32.0"],
        ["shared-server-0", "Ready", "control-plane", "v1.32.0"],
    ]
    assert ["default", "Active"] in table(api, "/api/v1/namespaces")[1]


def test_a_watch_from_before_what_is_remembered_is_told_410(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev")
    client = ApiClient(cluster)
    start = client.get("/api/v1/configmaps")["metadata"]["resourceVersion"]
    sandbox.kill()
    client.close()
    sandbox.start()
    status, answer = client.call("GET", f"/api/v1/configmaps?watch=1&resourceVersion={int(start) - 1}&timeoutSeconds=5")
    assert status == 200
    assert (answer["type"], answer["object"]["code"], answer["object"]["reason"]) == ("ERROR", 410, "Expired")
    now = client.get("/api/v1/configmaps")["metadata"]["resourceVersion"]
    status, answer = client.call("GET", f"/api/v1/configmaps?watch=1&resourceVersion={now}&timeoutSeconds=1")
    assert (status, answer) == (200, b"")
    client.close()


def test_a_watcher_that_falls_behind_is_told_410_instead_of_missing_events() -> None:
    from reconciler.sandbox.reading import Selection
    from reconciler.sandbox.rendering import PLAIN
    from reconciler.sandbox.resources import CONFIG_MAPS
    from reconciler.sandbox.watching import Watch, stream

    class NoStorage:
        def commit(self, *_: Any) -> None:
            pass

    import asyncio

    from reconciler.sandbox.state import ClusterState

    async def run() -> list[dict[str, Any]]:
        state = ClusterState("x", NoStorage())  # type: ignore[arg-type] - the log is under test, not the file
        lines = stream(state, Watch(CONFIG_MAPS, Selection(), PLAIN, 0, 5.0), asyncio.Event())
        state.write(CONFIG_MAPS.key("a", "first"), {"apiVersion": "v1", "metadata": {"name": "first"}})
        seen = [json.loads(await anext(lines))]
        for number in range(3 * REMEMBERED_EVENTS):
            state.write(CONFIG_MAPS.key("a", "b"), {"apiVersion": "v1", "metadata": {"name": str(number)}})
        seen += [json.loads(line) async for line in lines]
        return seen

    first, second = asyncio.run(run())
    assert first["type"] == "ADDED"
    assert (second["type"], second["object"]["code"]) == ("ERROR", 410)


def test_protected_namespaces_stay(api: ApiClient) -> None:
    for name in ("default", "kube-system", "kube-public"):
        status, answer = api.call("DELETE", f"/api/v1/namespaces/{name}")
        assert (status, answer["reason"]) == (403, "Forbidden")


def test_nothing_new_enters_a_namespace_that_is_being_deleted(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    assert api.call("POST", place, body)[0] == 201
    api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    status, answer = api.call("POST", place, {"metadata": {"name": "late"}})
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    api.eventually(f"{place}/held", lambda _, found: "deletionTimestamp" in found["metadata"])
    assert api.get(f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Terminating"
    patch = [{"op": "remove", "path": "/metadata/finalizers"}]
    api.call("PATCH", f"{place}/held", patch, Content_Type="application/json-patch+json")
    api.eventually(f"/api/v1/namespaces/{namespace}", lambda status, _: status == 404)


def test_a_definition_with_cel_rules_is_accepted_with_a_warning(api: ApiClient) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": "self.a > 1"}]}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rules.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "rules", "kind": "Rule"},
            "versions": [version],
        },
    }
    status, answer = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    assert status == 201, answer
    assert "not evaluated" in api.warnings[0]
    assert api.call("GET", "/apis/example.com/v1/rules")[0] == 200
    api.call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rules.example.com")
    api.eventually("/apis/example.com/v1/rules", lambda status, _: status == 404)


def test_protobuf_that_is_not_understood_in_full_is_refused(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/configmaps"
    kinds = b"\x0a\x02v1\x12\x09ConfigMap"
    metadata = b"\x0a\x03\x0a\x01x"
    for extra, expected in ((b"", 201), (b"\xba\x06\x01y", 415), (b"\x0a\xff", 415)):
        raw = metadata + extra
        body = b"k8s\x00\x0a" + bytes([len(kinds)]) + kinds + b"\x12" + bytes([len(raw)]) + raw
        status, answer = api.call("POST", place, body, Content_Type="application/vnd.kubernetes.protobuf")
        assert status == expected, answer
    for garbage in (b"", b"k8s", b"k8s\x00\xff\xff\xff", b"{}"):
        status, _ = api.call("POST", place, garbage or b"x", Content_Type="application/vnd.kubernetes.protobuf")
        assert status == 415


def test_a_body_over_the_limit_is_refused(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/configmaps"
    body = {"metadata": {"name": "large"}, "data": {"a": "x" * 3_200_000}}
    try:
        status, answer = api.call("POST", place, body)
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")
    except (BrokenPipeError, ConnectionResetError, http.client.HTTPException):
        api.close()  # the answer came while the body was still being sent
    assert api.call("GET", f"{place}/large")[0] == 404


def test_deeply_nested_and_odd_bodies_are_refused_without_harm(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/configmaps"
    for body in (
        b"[" * 100_000,
        b'{"metadata":' * 5_000,
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b'{"metadata":[]}',
        b"\xff\xfe",
    ):
        status, answer = api.call("POST", place, body)
        assert status in (400, 422), (body[:20], answer)
    for content in (b"&a [*a]", b"a: !!python/object:os.system {}", b"- \t-", b"[" * 5_000):
        status, _ = api.call("PATCH", f"{place}/x?fieldManager=a", content, Content_Type=APPLY)
        assert status == 400
    assert api.get("/healthz") == b"ok"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_a_list_of_1200_objects_is_quick(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    for number in range(1200):
        body = {"metadata": {"name": f"c-{number}"}, "data": {"a": "x" * 100}}
        assert api.call("POST", place, body)[0] == 201
    start = time.monotonic()
    assert len(api.get(place)["items"]) == 1200
    assert time.monotonic() - start < 5.0  # some 0.05 s; only a change of order is caught here
