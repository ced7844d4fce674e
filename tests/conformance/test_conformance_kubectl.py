"""Unmodified kubectl, without --validate=false."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from conformance_tools import Kubectl, config_map, deployment, widget


def test_apply_creates_then_leaves_alone_then_configures(kubectl: Kubectl) -> None:
    wanted = config_map(a="1", b="2")
    assert "created" in kubectl.ok("apply", "-f", "-", stdin=wanted)
    before = kubectl.json("configmap", "one")
    assert "unchanged" in kubectl.ok("apply", "-f", "-", stdin=wanted)
    assert kubectl.json("configmap", "one") == before
    assert "configured" in kubectl.ok("apply", "-f", "-", stdin=config_map(a="3"))
    assert kubectl.json("configmap", "one")["data"] == {"a": "3"}


def test_apply_merges_containers_by_name_and_keeps_what_others_added(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", stdin=deployment(replicas=0))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "registry.example.com/side:1"}]}}}}
    kubectl.ok("patch", "deployment", "web", "-p", json.dumps(patch))
    kubectl.ok("apply", "-f", "-", stdin=deployment(image="registry.example.com/web:2", replicas=0))
    containers = kubectl.json("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["image"] for one in containers} == {
        "web": "registry.example.com/web:2",
        "side": "registry.example.com/side:1",
    }


def test_server_side_apply_is_idempotent(kubectl: Kubectl) -> None:
    for wanted in (deployment(replicas=0), config_map(a="1")):
        place = f"{wanted['kind'].lower()}/{wanted['metadata']['name']}"
        assert "serverside-applied" in kubectl.ok("apply", "--server-side", "-f", "-", stdin=wanted)
        kubectl.ok("wait", place, "--for=jsonpath={.metadata.name}=" + wanted["metadata"]["name"])
        before = kubectl.json(place, "--show-managed-fields")
        kubectl.ok("apply", "--server-side", "-f", "-", stdin=wanted)
        after = kubectl.json(place, "--show-managed-fields")
        if wanted["kind"] == "ConfigMap":
            assert after == before
        assert after["metadata"].get("generation") == before["metadata"].get("generation")


def test_server_side_apply_conflicts_name_owner_and_field_and_can_be_forced(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "--server-side", "--field-manager=first", "-f", "-", stdin=config_map(a="1", b="1"))
    second = ("apply", "--server-side", "--field-manager=second")
    complaint = kubectl.fails(*second, "-f", "-", stdin=config_map(a="2"))
    assert "conflict" in complaint
    assert '"first"' in complaint
    assert ".data.a" in complaint
    assert ".data.b" not in complaint
    assert kubectl.json("configmap", "one")["data"] == {"a": "1", "b": "1"}
    kubectl.ok(*second, "--force-conflicts", "-f", "-", stdin=config_map(a="2"))
    found = kubectl.json("configmap", "one", "--show-managed-fields")
    assert found["data"] == {"a": "2", "b": "1"}
    owners = {entry["manager"]: entry["fieldsV1"] for entry in found["metadata"]["managedFields"]}
    assert owners == {"first": {"f:data": {"f:b": {}}}, "second": {"f:data": {"f:a": {}}}}


def test_server_side_apply_drops_what_its_owner_names_no_more(kubectl: Kubectl) -> None:
    first, second = "--field-manager=first", "--field-manager=second"
    kubectl.ok("apply", "--server-side", first, "-f", "-", stdin=config_map(a="1", b="1", c="1"))
    kubectl.ok("apply", "--server-side", second, "-f", "-", stdin=config_map(b="1"))
    kubectl.ok("apply", "--server-side", first, "-f", "-", stdin=config_map(a="1"))
    assert kubectl.json("configmap", "one")["data"] == {"a": "1", "b": "1"}
    kubectl.ok("apply", "--server-side", second, "-f", "-", stdin=config_map())
    assert kubectl.json("configmap", "one")["data"] == {"a": "1"}


def test_client_side_applied_objects_move_to_server_side_apply(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", stdin=config_map(a="1", b="1"))
    kubectl.ok("apply", "--server-side", "-f", "-", stdin=config_map(a="2"))
    assert kubectl.json("configmap", "one")["data"] == {"a": "2"}


def test_unknown_fields_are_refused_by_default_and_warned_of_on_request(kubectl: Kubectl) -> None:
    wanted = deployment(replicas=0)
    wanted["spec"]["replcas"] = 1
    complaint = kubectl.fails("create", "-f", "-", stdin=wanted)
    assert 'strict decoding error: unknown field "spec.replcas"' in complaint
    warned = kubectl.run("create", "--validate=warn", "-f", "-", stdin=wanted)
    assert warned.returncode == 0
    assert 'unknown field "spec.replcas"' in warned.stderr
    assert "replcas" not in kubectl.json("deployment", "web")["spec"]
    complaint = kubectl.fails("apply", "--server-side", "--field-manager=x", "-f", "-", stdin=wanted)
    assert ".spec.replcas: field not declared in schema" in complaint


def test_wrong_types_and_impossible_values_are_refused(kubectl: Kubectl) -> None:
    wanted = deployment()
    wanted["spec"]["replicas"] = "many"
    assert "BadRequest" in kubectl.fails("create", "-f", "-", stdin=wanted)
    assert "spec.template.spec.containers[0].image" in kubectl.fails("create", "-f", "-", stdin=deployment(image=""))
    wanted = deployment()
    wanted["spec"]["selector"]["matchLabels"]["app"] = "other"
    assert "`selector` does not match template `labels`" in kubectl.fails("create", "-f", "-", stdin=wanted)
    assert "RFC 1123" in kubectl.fails("create", "-f", "-", stdin=config_map("Not_A_Name"))


def test_create_replace_and_delete(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=config_map(a="1"))
    assert "AlreadyExists" in kubectl.fails("create", "-f", "-", stdin=config_map(a="1"))
    kubectl.ok("replace", "-f", "-", stdin=config_map(b="2"))
    assert kubectl.json("configmap", "one")["data"] == {"b": "2"}
    assert "deleted" in kubectl.ok("delete", "configmap", "one")
    assert "NotFound" in kubectl.fails("get", "configmap", "one")
    assert "NotFound" in kubectl.fails("replace", "-f", "-", stdin=config_map(b="2"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("configmap", "made", "--from-literal=a=1"),
        ("secret", "generic", "made", "--from-literal=a=1"),
        ("serviceaccount", "made"),
        ("service", "clusterip", "made", "--tcp=80:8080"),
        ("deployment", "made", "--image=registry.example.com/web:1", "--replicas=0"),
    ],
)
def test_create_subcommands(kubectl: Kubectl, arguments: tuple[str, ...]) -> None:
    kubectl.ok("create", *arguments, "--dry-run=server")
    assert "NotFound" in kubectl.fails("get", arguments[0], "made")
    kubectl.ok("create", *arguments)
    found = kubectl.json(arguments[0], "made")
    if arguments[0] == "deployment":
        assert found["spec"]["replicas"] == 0
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/web:1"
    if arguments[0] == "service":
        assert found["spec"]["ports"][0]["port"] == 80
        assert found["spec"]["ports"][0]["targetPort"] == 8080
    if arguments[0] == "secret":
        assert found["data"] == {"a": "MQ=="}


def test_three_kinds_of_patch(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=deployment(replicas=0))
    kubectl.ok("patch", "deployment", "web", "--type=merge", "-p", '{"metadata":{"labels":{"a":"1"}}}')
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "1"},
        {"op": "remove", "path": "/metadata/labels/a"},
    ]
    kubectl.ok("patch", "deployment", "web", "--type=json", "-p", json.dumps(operations))
    strategic = {
        "spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "B", "value": "2"}]}]}}}
    }
    kubectl.ok("patch", "deployment", "web", "--type=strategic", "-p", json.dumps(strategic))
    found = kubectl.json("deployment", "web")
    assert "labels" not in found["metadata"]
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.com/web:1"
    assert sorted(one["name"] for one in container["env"]) == ["A", "B"]
    assert kubectl.run("patch", "deployment", "web", "--type=json", "-p", json.dumps(operations)).returncode != 0


def test_label_annotate_and_selectors(kubectl: Kubectl) -> None:
    for name in ("one", "two", "three"):
        kubectl.ok("create", "-f", "-", stdin=config_map(name))
    kubectl.ok("label", "configmap", "one", "two", "env=dev")
    kubectl.ok("label", "configmap", "two", "tier=web")
    kubectl.ok("annotate", "configmap", "one", "note=hello")
    assert kubectl.json("configmap", "one")["metadata"]["annotations"] == {"note": "hello"}

    def selected(*arguments: str) -> set[str]:
        return {
            line.removeprefix("configmap/") for line in kubectl.ok("get", "configmap", "-o", "name", *arguments).split()
        }

    assert selected("-l", "env=dev") == {"one", "two"}
    assert selected("-l", "env=dev,tier!=web") == {"one"}
    assert selected("-l", "tier") == {"two"}
    assert selected("-l", "env in (dev,test),!tier") == {"one"}
    assert {"three"} <= selected("-l", "env notin (dev)") <= {"three", "kube-root-ca.crt"}
    assert selected("--field-selector", "metadata.name=three") == {"three"}
    assert "field label not supported" in kubectl.fails("get", "configmap", "--field-selector", "data.a=1")
    kubectl.ok("label", "configmap", "one", "env-")
    assert selected("-l", "env") == {"two"}


def test_output_formats_and_describe(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=config_map(a="1"))
    assert kubectl.ok("get", "configmap", "one", "-o", "name") == "configmap/one\n"
    assert "kind: ConfigMap" in kubectl.ok("get", "configmap", "one", "-o", "yaml")
    assert kubectl.ok("get", "configmap", "one", "-o", "jsonpath={.data.a}") == "1"
    assert kubectl.ok("get", "configmap", "one", "-o", "wide").split()[:3] == ["NAME", "DATA", "AGE"]
    assert "Name:         one" in kubectl.ok("describe", "configmap", "one")
    kubectl.ok("create", "-f", "-", stdin=deployment(replicas=0))
    assert "StrategyType:" in kubectl.ok("describe", "deployment", "web")
    assert kubectl.namespace in kubectl.ok("describe", "namespace", kubectl.namespace)


def test_scale_through_the_subresource(kubectl: Kubectl) -> None:
    kubectl.ok("create", "-f", "-", stdin=deployment(replicas=0))
    kubectl.ok("scale", "deployment", "web", "--replicas=2")
    found = kubectl.json("deployment", "web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (2, 2)
    assert kubectl.run("scale", "deployment", "web", "--replicas=3", "--current-replicas=9").returncode != 0


def test_a_deleted_namespace_takes_its_objects_along(admin_kubectl: Kubectl) -> None:
    name = f"conformance-{uuid.uuid4().hex[:8]}"
    admin_kubectl.ok("create", "namespace", name)
    inside = Kubectl(admin_kubectl.kubeconfig, admin_kubectl.home, name)
    inside.ok("create", "-f", "-", stdin=config_map(a="1"))
    before = inside.json("configmap", "one")["metadata"]["uid"]
    admin_kubectl.ok("delete", "namespace", name, "--timeout=60s")
    assert "NotFound" in admin_kubectl.fails("get", "namespace", name)
    assert "NotFound" in inside.fails("create", "-f", "-", stdin=config_map(a="1"))
    admin_kubectl.ok("create", "namespace", name)
    assert "NotFound" in inside.fails("get", "configmap", "one")
    inside.ok("create", "-f", "-", stdin=config_map(a="1"))
    assert inside.json("configmap", "one")["metadata"]["uid"] != before
    admin_kubectl.ok("delete", "namespace", name, "--wait=false")


def test_custom_resources_default_validate_and_prune(kubectl: Kubectl, widgets: str) -> None:
    kubectl.ok("apply", "-f", "-", stdin=widget(widgets))
    assert kubectl.json(widgets, "one")["spec"] == {"size": 3, "color": "red"}
    assert "spec.size" in kubectl.fails("apply", "-f", "-", stdin=widget(widgets, size=0))
    assert "Unsupported value" in kubectl.fails("apply", "-f", "-", stdin=widget(widgets, color="green"))
    assert 'unknown field "spec.foo"' in kubectl.fails("apply", "-f", "-", stdin=widget(widgets, foo=1))
    kubectl.ok("apply", "--validate=ignore", "-f", "-", stdin=widget(widgets, foo=1, free={"any": {"thing": 1}}))
    assert kubectl.json(widgets, "one")["spec"] == {"size": 3, "color": "red", "free": {"any": {"thing": 1}}}


def test_custom_resources_are_patched_scaled_and_edited(kubectl: Kubectl, widgets: str) -> None:
    kubectl.ok("create", "-f", "-", stdin=widget(widgets, color="blue"))
    kubectl.ok("patch", widgets, "one", "--type=merge", "-p", '{"spec":{"size":5}}')
    kubectl.ok("scale", f"{widgets}.conformance.example.com/one", "--replicas=7")
    kubectl.ok("edit", widgets, "one", KUBE_EDITOR="sed -i s/blue/red/")
    found = kubectl.json(widgets, "one")
    assert found["spec"] == {"size": 7, "color": "red"}
    assert found["metadata"]["generation"] == 4
    kubectl.ok(
        "patch", widgets, "one", "--subresource=status", "--type=merge", "-p", '{"status":{"size":7},"spec":{"size":9}}'
    )
    found = kubectl.json(widgets, "one")
    assert (found["spec"]["size"], found["status"], found["metadata"]["generation"]) == (7, {"size": 7}, 4)
    assert kubectl.run("patch", widgets, "one", "--type=strategic", "-p", "{}").returncode != 0


def test_custom_resources_merge_keyed_lists_between_owners(kubectl: Kubectl, widgets: str) -> None:
    def apply(manager: str, *parts: Any) -> None:
        wanted = widget(widgets, parts=list(parts))
        kubectl.ok("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=wanted)

    apply("first", {"name": "a", "count": 1})
    apply("second", {"name": "b", "count": 2})
    assert kubectl.json(widgets, "one")["spec"]["parts"] == [{"name": "a", "count": 1}, {"name": "b", "count": 2}]
    apply("first")
    assert kubectl.json(widgets, "one")["spec"]["parts"] == [{"name": "b", "count": 2}]


def test_a_deleted_definition_takes_its_objects_along(kubectl: Kubectl, widgets: str) -> None:
    kubectl.ok("create", "-f", "-", stdin=widget(widgets))
    kubectl.ok("delete", "crd", f"{widgets}.conformance.example.com", "--timeout=60s")
    assert kubectl.run("get", widgets).returncode != 0


def test_diff_says_what_an_apply_would_change_and_changes_nothing(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", stdin=config_map(a="1"))
    assert kubectl.run("diff", "-f", "-", stdin=config_map(a="1")).returncode == 0
    shown = kubectl.run("diff", "-f", "-", stdin=config_map(a="2"))
    assert shown.returncode == 1
    assert '+  a: "2"' in shown.stdout
    assert kubectl.json("configmap", "one")["data"] == {"a": "1"}


def test_waiting_deletion_of_a_finalized_object(kubectl: Kubectl) -> None:
    wanted = config_map(a="1")
    wanted["metadata"]["finalizers"] = ["conformance.example.com/hold"]
    kubectl.ok("create", "-f", "-", stdin=wanted)
    kubectl.ok("delete", "configmap", "one", "--wait=false")
    assert "deletionTimestamp" in kubectl.json("configmap", "one")["metadata"]
    kubectl.ok("patch", "configmap", "one", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "NotFound" in kubectl.fails("get", "configmap", "one")
