"""The official Python client, typed and dynamic."""

from __future__ import annotations

import json
import threading
import urllib.request
from typing import Any

import pytest
from conformance_tools import config_map, deployment, widget
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError


def raw(api_client: Any, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """One request as it stands: status, decoded answer, headers."""
    configuration = api_client.configuration
    sent = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    sent |= {one["key"]: one["value"] for one in configuration.auth_settings().values() if one["in"] == "header"}
    pool = api_client.rest_client.pool_manager
    payload = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    response = pool.request(method, configuration.host + path, body=payload, headers=sent)
    try:
        return response.status, json.loads(response.data), response.headers
    except ValueError:
        return response.status, response.data, response.headers


def test_version_and_health(api_client: Any) -> None:
    version = client.VersionApi(api_client).get_code()
    assert version.git_version.startswith("v1.")
    for path in ("/healthz", "/livez", "/readyz"):
        assert raw(api_client, "GET", path)[:2] == (200, b"ok")


def test_typed_core_objects_live_through_their_whole_life(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    metadata = client.V1ObjectMeta(name="one", labels={"a": "b"})
    created = core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=metadata, data={"x": "1"}))
    assert created.metadata.uid
    assert created.metadata.creation_timestamp
    assert core.read_namespaced_config_map("one", namespace).data == {"x": "1"}
    created.data = {"x": "2"}
    replaced = core.replace_namespaced_config_map("one", namespace, created)
    assert int(replaced.metadata.resource_version) > int(created.metadata.resource_version)
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("one", namespace, created)
    assert stale.value.status == 409
    status = json.loads(stale.value.body)
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "Conflict", 409)
    assert status["details"] == {"name": "one", "kind": "configmaps"}
    listed = core.list_namespaced_config_map(namespace, label_selector="a=b")
    assert [one.metadata.name for one in listed.items] == ["one"]
    core.delete_namespaced_config_map("one", namespace)
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("one", namespace)
    status = json.loads(gone.value.body)
    assert (status["reason"], status["code"]) == ("NotFound", 404)
    assert status["message"] == 'configmaps "one" not found'


def test_typed_apps_objects_get_generation_and_defaults(api_client: Any, namespace: str) -> None:
    apps = client.AppsV1Api(api_client)
    created = apps.create_namespaced_deployment(namespace, deployment(replicas=0))
    assert created.metadata.generation == 1
    assert created.spec.strategy.type == "RollingUpdate"
    assert created.spec.template.spec.restart_policy == "Always"
    assert created.spec.template.spec.containers[0].ports[0].protocol == "TCP"
    patched = apps.patch_namespaced_deployment("web", namespace, {"spec": {"replicas": 1}})
    assert patched.metadata.generation == 2
    labelled = apps.patch_namespaced_deployment("web", namespace, {"metadata": {"labels": {"x": "y"}}})
    assert labelled.metadata.generation == 2
    scale = apps.read_namespaced_deployment_scale("web", namespace)
    assert scale.spec.replicas == 1
    scale.spec.replicas = 0
    scale.metadata.resource_version = None  # controllers write the status meanwhile
    assert apps.replace_namespaced_deployment_scale("web", namespace, scale).spec.replicas == 0
    apps.delete_namespaced_deployment("web", namespace)
    with pytest.raises(ApiException, match="NotFound"):
        apps.read_namespaced_deployment("web", namespace)


def test_generate_name_gives_distinct_names(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    names = {core.create_namespaced_config_map(namespace, body).metadata.name for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("made-") and len(name) == len("made-") + 5 for name in names)


def test_a_write_without_a_change_changes_nothing(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    created = core.create_namespaced_config_map(namespace, config_map(a="1"))
    same = core.replace_namespaced_config_map("one", namespace, created)
    patched = core.patch_namespaced_config_map("one", namespace, {"data": {"a": "1"}})
    assert same.metadata.resource_version == created.metadata.resource_version == patched.metadata.resource_version


def test_dry_run_keeps_nothing(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    assert core.create_namespaced_config_map(namespace, config_map(a="1"), dry_run="All").metadata.uid
    assert not [one for one in core.list_namespaced_config_map(namespace).items if one.metadata.name == "one"]
    core.create_namespaced_config_map(namespace, config_map(a="1"))
    assert core.patch_namespaced_config_map("one", namespace, {"data": {"a": "2"}}, dry_run="All").data == {"a": "2"}
    core.delete_namespaced_config_map("one", namespace, dry_run="All")
    assert core.read_namespaced_config_map("one", namespace).data == {"a": "1"}


def test_a_watch_sees_every_change_after_its_version(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    core.create_namespaced_config_map(namespace, config_map("before"))
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("one", a="1"))
    core.patch_namespaced_config_map("one", namespace, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("one", namespace)
    seen = []
    stream = watch.Watch()
    selector = "metadata.name=one"
    for event in stream.stream(
        core.list_namespaced_config_map, namespace, resource_version=start, field_selector=selector, timeout_seconds=20
    ):
        seen.append((event["type"], event["object"].metadata.name, event["object"].data))
        if event["type"] == "DELETED":
            stream.stop()
    assert seen == [
        ("ADDED", "one", {"a": "1"}),
        ("MODIFIED", "one", {"a": "2"}),
        ("DELETED", "one", {"a": "2"}),
    ]


def test_a_watch_without_a_version_begins_with_what_is_there(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    core.create_namespaced_config_map(
        namespace, {**config_map("one"), "metadata": {"name": "one", "labels": {"w": "1"}}}
    )
    timer = threading.Timer(
        0.3, lambda: core.patch_namespaced_config_map("one", namespace, {"metadata": {"labels": {"w": "2"}}})
    )
    timer.start()
    stream, seen = watch.Watch(), []
    for event in stream.stream(core.list_namespaced_config_map, namespace, label_selector="w=1", timeout_seconds=20):
        seen.append(event["type"])
        if event["type"] == "DELETED":
            stream.stop()
    timer.join()
    assert seen == ["ADDED", "DELETED"]


def test_pages_are_of_one_moment(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    for number in range(7):
        body = {**config_map(f"page-{number}"), "metadata": {"name": f"page-{number}", "labels": {"paged": "yes"}}}
        core.create_namespaced_config_map(namespace, body)
    names, token, versions = [], None, set()
    while True:
        page = core.list_namespaced_config_map(namespace, label_selector="paged=yes", limit=3, _continue=token)
        assert len(page.items) <= 3
        versions.add(page.metadata.resource_version)
        names += [one.metadata.name for one in page.items]
        token = page.metadata._continue
        if not token:
            break
        core.delete_collection_namespaced_config_map(namespace, label_selector="paged=yes")
    assert names == [f"page-{number}" for number in range(7)]
    assert len(versions) == 1


def test_delete_collection_obeys_selectors(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        core.create_namespaced_secret(
            namespace, {"metadata": {"name": name, "labels": {"l": label}}, "stringData": {"k": "v"}}
        )
    core.delete_collection_namespaced_secret(namespace, label_selector="l=x")
    left = core.list_namespaced_secret(namespace, field_selector="type=Opaque").items
    assert [one.metadata.name for one in left] == ["c"]
    assert left[0].data == {"k": "dg=="}


def test_dynamic_client_applies_and_meets_conflicts(dynamic_client: DynamicClient, namespace: str) -> None:
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
    first = maps.server_side_apply(body=config_map(a="1"), namespace=namespace, field_manager="first")
    again = maps.server_side_apply(body=config_map(a="1"), namespace=namespace, field_manager="first")
    assert first.to_dict() == again.to_dict()
    with pytest.raises(ConflictError) as conflict:
        maps.server_side_apply(body=config_map(a="2"), namespace=namespace, field_manager="second")
    status = json.loads(conflict.value.body)
    assert (status["reason"], status["code"]) == ("Conflict", 409)
    (cause,) = status["details"]["causes"]
    assert cause == {"reason": "FieldManagerConflict", "message": 'conflict with "first" using v1', "field": ".data.a"}
    forced = maps.server_side_apply(
        body=config_map(a="2"), namespace=namespace, field_manager="second", force_conflicts=True
    )
    assert forced.data.to_dict() == {"a": "2"}


def test_dynamic_client_finds_new_types(dynamic_client: DynamicClient, namespace: str, widgets: str) -> None:
    kind = widget(widgets)["kind"]
    found = dynamic_client.resources.get(api_version="conformance.example.com/v1", kind=kind)
    created = found.create(body=widget(widgets), namespace=namespace)
    assert created.spec.color == "red"
    assert [one.metadata.name for one in found.get(namespace=namespace).items] == ["one"]
    patched = found.patch(
        name="one", namespace=namespace, body={"spec": {"size": 4}}, content_type="application/merge-patch+json"
    )
    assert (patched.spec.size, patched.metadata.generation) == (4, 2)
    found.delete(name="one", namespace=namespace)
    with pytest.raises(NotFoundError):
        found.get(name="one", namespace=namespace)


def test_custom_objects_need_a_version_to_be_replaced(
    dynamic_client: DynamicClient, namespace: str, widgets: str
) -> None:
    kind = widget(widgets)["kind"]
    found = dynamic_client.resources.get(api_version="conformance.example.com/v1", kind=kind)
    found.create(body=widget(widgets), namespace=namespace)
    with pytest.raises(ApiException) as refused:
        found.replace(body=widget(widgets, size=5), namespace=namespace)
    assert refused.value.status == 422
    assert "metadata.resourceVersion" in json.loads(refused.value.body)["message"]


def test_owned_objects_follow_their_owner(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    owner = core.create_namespaced_config_map(namespace, config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
    for name in ("owned", "orphan"):
        body = {**config_map(name), "metadata": {"name": name, "ownerReferences": [reference]}}
        core.create_namespaced_config_map(namespace, body)
    core.patch_namespaced_config_map("orphan", namespace, {"metadata": {"ownerReferences": None}})
    core.delete_namespaced_config_map("owner", namespace, propagation_policy="Foreground")
    names = _settle(lambda: {one.metadata.name for one in core.list_namespaced_config_map(namespace).items}, "owned")
    assert "orphan" in names


def test_orphaned_objects_stay(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    owner = core.create_namespaced_config_map(namespace, config_map("owner"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid}
    body = {**config_map("owned"), "metadata": {"name": "owned", "ownerReferences": [reference]}}
    core.create_namespaced_config_map(namespace, body)
    core.delete_namespaced_config_map("owner", namespace, propagation_policy="Orphan")
    names = _settle(lambda: {one.metadata.name for one in core.list_namespaced_config_map(namespace).items}, "owner")
    assert "owned" in names
    assert not core.read_namespaced_config_map("owned", namespace).metadata.owner_references


def _settle(look: Any, absent: str) -> set[str]:
    import time

    deadline = time.monotonic() + 60
    while True:
        names: set[str] = look()
        if absent not in names:
            return names
        assert time.monotonic() < deadline, names
        time.sleep(0.05)


def test_preconditions_protect_a_deletion(api_client: Any, namespace: str) -> None:
    core = client.CoreV1Api(api_client)
    core.create_namespaced_config_map(namespace, config_map())
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    with pytest.raises(ApiException) as refused:
        core.delete_namespaced_config_map("one", namespace, body=options)
    assert refused.value.status == 409
    assert core.read_namespaced_config_map("one", namespace)


def test_openapi_v3_describes_what_is_served(api_client: Any, widgets: str) -> None:
    status, index, _ = raw(api_client, "GET", "/openapi/v3")
    assert status == 200
    for place, definition in (("api/v1", "Pod"), ("apis/apps/v1", "Deployment")):
        status, document, _ = raw(api_client, "GET", index["paths"][place]["serverRelativeURL"])
        assert status == 200
        assert document["openapi"].startswith("3.")
        kinds = {
            kind["kind"]
            for schema in document["components"]["schemas"].values()
            for kind in schema.get("x-kubernetes-group-version-kind", ())
        }
        assert definition in kinds
    plural_path = f"/apis/conformance.example.com/v1/namespaces/{{namespace}}/{widgets}/{{name}}"
    place = index["paths"]["apis/conformance.example.com/v1"]["serverRelativeURL"]
    _settle_document(api_client, place, plural_path)


def _settle_document(api_client: Any, place: str, path: str) -> None:
    names = _settle(
        lambda: set() if path in raw(api_client, "GET", place.partition("?")[0])[1]["paths"] else {path}, path
    )
    assert not names


def test_requests_that_make_no_sense_are_refused_as_kubernetes_does(api_client: Any, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}/configmaps"
    status, answer, _ = raw(api_client, "POST", base, b"{broken")
    assert (status, answer["reason"], answer["kind"]) == (400, "BadRequest", "Status")
    status, answer, _ = raw(api_client, "POST", base, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})
    assert status == 400
    body = {**config_map(), "metadata": {"name": "one", "namespace": "other"}}
    status, answer, _ = raw(api_client, "POST", base, body)
    assert status == 400
    assert "namespace" in answer["message"]
    assert raw(api_client, "PATCH", f"{base}/one", b"{}", Content_Type="text/plain")[0] == 415
    assert raw(api_client, "GET", f"{base}?labelSelector=a%20in%20x")[0] == 400
    assert raw(api_client, "GET", "/apis/nothing.example.com/v1/things")[0] == 404
    assert raw(api_client, "POST", f"/api/v1/namespaces/{namespace}-none/configmaps", config_map())[0] == 404


def test_a_wrong_token_is_refused(api_client: Any) -> None:
    request = urllib.request.Request(
        api_client.configuration.host + "/api/v1/namespaces", headers={"Authorization": "Bearer wrong"}
    )
    import ssl

    context = ssl.create_default_context(cafile=api_client.configuration.ssl_ca_cert)
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, context=context, timeout=30):
        pass
    with refused.value:
        assert refused.value.code in (401, 403)
        assert json.loads(refused.value.read())["kind"] == "Status"
