"""Manifests: what is taken from a spec, and what of a live object is compared with it."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.kinds.cluster.manifests import objects_of, stages_of
from reconciler.model.secret import SpecFile
from reconciler.planning.diff import diff
from reconciler.planning.live import comparable


def manifest(kind: str = "ConfigMap", name: str = "a", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


def file(text: str, path: str = "all.yaml") -> SpecFile:
    return SpecFile(path, hashlib.sha256(text.encode()).hexdigest(), text)


def test_files_hold_many_documents_and_lists() -> None:
    text = """
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: x}
data: {when: 2024-01-01, "on": "yes"}
---
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: x, creationTimestamp: null}, status: {phase: Active}}
"""
    found = objects_of([file(text), manifest(name="b")])
    assert list(found) == ["v1/Namespace/x", "v1/ConfigMap/x/a", "v1/ConfigMap/b"], "namespaces come first"
    assert found["v1/ConfigMap/x/a"]["data"] == {"when": "2024-01-01", "on": "yes"}, "times stay text"
    assert found["v1/Namespace/x"] == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}


PROBLEMS: list[tuple[str, list[Any], str]] = [
    ("no object", ["text"], r"manifests\[0\] is not an object"),
    ("no kind", [{"apiVersion": "v1", "metadata": {"name": "a"}}], r"manifests\[0\] has no kind"),
    ("no version", [{"kind": "X", "metadata": {"name": "a"}}], "has no apiVersion"),
    ("no name", [{"apiVersion": "v1", "kind": "X"}], "has no metadata.name"),
    ("name is a number", [{"apiVersion": "v1", "kind": "X", "metadata": {"name": 5}}], "has no metadata.name"),
    ("generateName", [{"apiVersion": "v1", "kind": "X", "metadata": {"generateName": "a-"}}], "generateName"),
    ("twice", [manifest(), manifest()], r"manifests\[1\] and manifests\[0\] are both v1/ConfigMap/a"),
    ("twice, once with default", [manifest(), manifest(metadata={"name": "a", "namespace": "default"})], "both"),
    ("in a file", [manifest(), file("kind: X\n---\n- a\n")], r"\[1\] \(all.yaml\) document 1 has no apiVersion"),
    ("broken file", [file("a: [\n")], r"all.yaml\):2:1 is not YAML"),
    ("tag", [file("a: !!python/name:os.system ''")], "is not YAML"),
    ("number as key", [file("apiVersion: v1\nkind: X\nmetadata: {name: a}\n1: 2\n")], "key 1"),
    ("alias bomb", [file("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
    ))], "more than 100,000 values"),
    ("secret, not base64", [manifest("Secret", data={"a": "aHVudGVyMg=!"})], r"data.a is not base64"),
    ("secret, no text", [manifest("Secret", stringData={"a": 5})], "stringData.a is not text"),
    ("secret, no values", [manifest("Secret", data="aHVudGVyMg==")], "data is not a mapping"),
    ("secret in binary", [file("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: !!binary aHVudGVyMg==}")],
     "holds a bytes that JSON cannot carry"),
]  # fmt: skip


@pytest.mark.parametrize(("manifests", "says"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_what_is_wrong_is_named(manifests: list[Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        objects_of(manifests)
    assert "aHVudGVyMg" not in caught.value.message
    assert "hunter2" not in caught.value.message
    assert isinstance(objects_of(manifests, strict=False), dict), "looking goes on without it"


def test_what_others_need_is_applied_in_a_stage_before_them_and_what_may_refuse_them_after() -> None:
    """Nothing is lost, and within a stage the order is that of the documents."""
    kinds = ["ValidatingWebhookConfiguration", "Pod", "ServiceAccount", "Widget", "Secret", "ResourceQuota"]
    kinds += ["CustomResourceDefinition", "Namespace", "Deployment"]
    objects = objects_of([{"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}} for kind in kinds])
    assert [[one["kind"] for one in stage.values()] for stage in stages_of(objects)] == [
        ["Namespace"],
        ["CustomResourceDefinition"],
        ["ResourceQuota"],
        ["ServiceAccount", "Secret"],
        ["Pod", "Widget", "Deployment"],
        ["ValidatingWebhookConfiguration"],
    ]
    assert stages_of({}) == []


def test_a_file_is_read_again_only_when_it_says_something_else() -> None:
    first, again = (objects_of([SpecFile("a.yaml", "1", TEXT)]) for _ in range(2))
    assert first == again
    assert next(iter(first.values())) is next(iter(again.values()))
    assert objects_of([SpecFile("a.yaml", "1", TEXT.replace("name: x", "name: y"))]).keys() != first.keys()


TEXT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def test_deep_nesting_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    with pytest.raises(SpecError, match="levels"):
        objects_of([manifest(data=deep)])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING)
def test_any_value_is_taken_or_refused_by_name(value: Any) -> None:
    try:
        found = objects_of([manifest(data=value)])
    except SpecError as error:
        found = {error.message: value}
    assert next(iter(found)).startswith(("v1/ConfigMap/a", "manifests[0]"))


def deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "web:1",
                            "ports": [{"containerPort": 80}],
                            "env": [{"name": "EMPTY", "value": ""}],
                            "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                        }
                    ],
                    "volumes": [],
                }
            },
        },
    }


def as_live(manager: str = "reconciler") -> dict[str, Any]:
    """The deployment as a server has it after our apply."""
    live = copy.deepcopy(deployment())
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["ports"][0]["protocol"] = "TCP"
    container["env"] = [{"name": "EMPTY"}]
    container["resources"]["requests"] = {"cpu": "1", "memory": "1Gi"}
    container["imagePullPolicy"] = "Always"
    del live["spec"]["template"]["spec"]["volumes"]
    live["spec"]["strategy"] = {"type": "RollingUpdate"}
    live["status"] = {"replicas": 2}
    fields = {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"web"}': {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:env": {'k:{"name":"EMPTY"}': {".": {}, "f:name": {}, "f:value": {}}},
                            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                            "f:resources": {"f:requests": {"f:cpu": {}, "f:memory": {}}},
                        }
                    }
                }
            },
        },
    }
    live["metadata"] |= {"uid": "u", "resourceVersion": "5", "namespace": "default", "managedFields": [
        {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    ]}  # fmt: skip
    return live


def differing(live: dict[str, Any], wanted: dict[str, Any], applied: dict[str, Any] | None = None) -> list[str]:
    return [entry.path for entry in diff(wanted, comparable(live, wanted), applied)]


@pytest.mark.parametrize("manager", ["reconciler", "somebody"])
def test_what_the_server_adds_or_writes_differently_is_no_difference(manager: str) -> None:
    assert differing(as_live(manager), deployment()) == []
    assert differing(as_live(manager), deployment(), deployment()) == []


def test_changed_fields_are_found() -> None:
    live = as_live()
    live["spec"]["replicas"] = 3
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "web:2"
    container["resources"]["requests"]["cpu"] = "2"
    assert differing(live, deployment()) == [
        "spec.spec.replicas",
        "spec.spec.template.spec.containers[0].image",
        "spec.spec.template.spec.containers[0].resources.requests.cpu",
    ]


def test_what_others_add_is_theirs() -> None:
    live = as_live()
    live["metadata"]["labels"]["theirs"] = "x"
    live["metadata"]["annotations"] = {"a": "b"}
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar", "image": "proxy"})
    live["spec"]["template"]["spec"]["containers"][1]["ports"].insert(0, {"containerPort": 81, "protocol": "TCP"})
    assert differing(live, deployment()) == []


def test_a_container_that_is_gone_is_found() -> None:
    live = as_live()
    live["spec"]["template"]["spec"]["containers"] = [{"name": "other", "image": "x"}]
    assert differing(live, deployment()) == ["spec.spec.template.spec.containers[0]"]


def test_a_field_that_was_dropped_is_still_ours_and_found() -> None:
    wanted = deployment()
    del wanted["metadata"]["labels"]
    del wanted["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert differing(as_live(), wanted, deployment()) == [
        "spec.metadata.labels",
        "spec.spec.template.spec.containers[0].resources",
    ]


def test_an_element_that_was_dropped_is_found() -> None:
    wanted = deployment()
    wanted["spec"]["template"]["spec"]["containers"][0]["ports"] = []
    assert differing(as_live(), wanted, deployment()) == ["spec.spec.template.spec.containers[0].ports[0]"]


def test_equal_amounts_count_as_equal_only_where_they_are_amounts() -> None:
    wanted = manifest(data={"size": "1000m"})
    live = manifest(data={"size": "1"})
    assert differing(live, wanted) == ["spec.data.size"]


def test_lists_without_keys_are_compared_as_a_whole() -> None:
    wanted = manifest("Role", rules=[{"verbs": ["get", "list"]}])
    assert differing(manifest("Role", rules=[{"verbs": ["get", "list"]}]), wanted) == []
    assert differing(manifest("Role", rules=[{"verbs": ["get"]}]), wanted) == ["spec.rules[0].verbs[1]"]
    assert differing(manifest("Role", rules=[{"verbs": ["get", "list", "*"]}]), wanted) == ["spec.rules[0].verbs[2]"]


def test_of_sets_others_members_are_theirs() -> None:
    live = manifest()
    live["metadata"] |= {
        "finalizers": ["theirs/x", "ours/y"],
        "managedFields": [
            {
                "manager": "reconciler",
                "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:finalizers": {'v:"ours/y"': {}}}},
            }
        ],
    }
    wanted = manifest()
    wanted["metadata"]["finalizers"] = ["ours/y"]
    assert differing(live, wanted) == []


def test_of_an_object_that_the_spec_has_no_longer_only_ours_is_reported() -> None:
    seen = comparable(as_live(), {})
    assert seen["metadata"] == {"labels": {"app": "web"}, "name": "web"}
    assert "strategy" not in seen["spec"]
