"""Hostile and broken requests: every one is answered within bounds, none with 500, and the server stays well."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sandbox_server import ApiClient

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

POD_SPEC: dict[str, Any] = {
    "containers": [
        {
            "name": "c",
            "image": "x:1",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"cpu": 1}},
        }
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
}
TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": POD_SPEC}
WORKLOAD = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}
JOB = {"suspend": True, "template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}
SEEDS: dict[str, dict[str, Any]] = {
    "/api/v1/namespaces/{ns}/pods": {"spec": POD_SPEC},
    "/api/v1/namespaces/{ns}/services": {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
    "/api/v1/namespaces/{ns}/configmaps": {"data": {"a": "1"}, "immutable": False},
    "/api/v1/namespaces/{ns}/secrets": {"stringData": {"a": "1"}},
    "/api/v1/namespaces/{ns}/events": {"involvedObject": {"kind": "Pod", "name": "x"}, "message": "m"},
    "/apis/events.k8s.io/v1/namespaces/{ns}/events": {"eventTime": "2024-01-01T00:00:00.000000Z", "note": "m"},
    "/apis/apps/v1/namespaces/{ns}/deployments": {"spec": {**WORKLOAD, "strategy": {"type": "RollingUpdate"}}},
    "/apis/apps/v1/namespaces/{ns}/statefulsets": {"spec": {**WORKLOAD, "serviceName": "a", "ordinals": {"start": 1}}},
    "/apis/apps/v1/namespaces/{ns}/daemonsets": {
        "spec": {key: one for key, one in WORKLOAD.items() if key != "replicas"}
    },
    "/apis/batch/v1/namespaces/{ns}/jobs": {"spec": JOB},
    "/apis/batch/v1/namespaces/{ns}/cronjobs": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": JOB}}},
    "/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses": {
        "spec": {
            "rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "a", "port": {"number": 1}}},
                            }
                        ]
                    }
                }
            ]
        }
    },
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings": {
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}],
    },
    "/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers": {
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "a"},
            "targetCPUUtilizationPercentage": 5,
        }
    },
    "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets": {"spec": {"minAvailable": 1, "selector": {}}},
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": {
        "metadata": {"name": "fuzzes.fuzz.example.com"},
        "spec": {
            "group": "fuzz.example.com",
            "scope": "Namespaced",
            "names": {"plural": "fuzzes", "kind": "Fuzz"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"},
                    },
                    "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n"}],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}},
                        }
                    },
                }
            ],
        },
    },
}
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1 << 62,
    1 << 70,
    1.5,
    1e300,
    "",
    "x" * 300,
    "a/b/c",
    "../..",
    "\x00",
    "\ud800",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": ""},
    {"a": None},
    {"a": {"b": {}}},
    ["x", "x"],
    "25%",
    "-5",
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _places(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _places(below, (*path, index))


def _mutated(value: Any, random_: random.Random) -> Any:
    value = copy.deepcopy(value)
    for _ in range(random_.choice((1, 1, 2, 3))):
        path = random_.choice([*_places(value), ("metadata",)])
        place = value
        for part in path[:-1]:
            place = place[part]
        if random_.random() < 0.15 and isinstance(place, dict):
            place.pop(path[-1], None)
        else:
            place[path[-1]] = copy.deepcopy(random_.choice(ODD))
    return value


def _is_well(status: int, answer: Any) -> bool:
    """Not 500, but for the one answer that API servers give with it: an apply that does not fit the schema."""
    return status < 500 or "failed to create typed patch object" in str(answer.get("message"))


@pytest.mark.parametrize("place", SEEDS)
def test_no_malformed_object_is_answered_with_500(api: ApiClient, place: str) -> None:
    random_ = random.Random(place)
    path = place.format(ns=api.namespace())
    seed = {"metadata": {"name": "one"}, **copy.deepcopy(SEEDS[place])}
    status, answer = api.call("POST", path, seed)
    assert status == 201, answer
    name = seed["metadata"]["name"]
    created = api.get(f"{path}/{name}")
    identity = {key: created[key] for key in ("apiVersion", "kind")}
    for number in range(60):
        fresh = _mutated({**seed, "metadata": {"name": f"n{number}", "labels": {"a": "b"}}}, random_)
        for method, target, body, headers in (
            ("POST", f"{path}?dryRun=All", fresh, {}),
            ("PUT", f"{path}/{name}", _mutated(created, random_), {}),
            ("PATCH", f"{path}/{name}", _mutated(seed, random_), {"Content_Type": MERGE}),
            ("PATCH", f"{path}/{name}", _mutated(seed, random_), {"Content_Type": STRATEGIC}),
            (
                "PATCH",
                f"{path}/{name}?fieldManager=f&force=1",
                {**_mutated(seed, random_), **identity},
                {"Content_Type": APPLY},
            ),
            ("PUT", f"{path}/{name}/status", _mutated(created, random_), {}),
            ("PATCH", f"{path}/{name}/scale", {"spec": {"replicas": random_.choice(ODD)}}, {"Content_Type": MERGE}),
        ):
            status, answer = api.call(method, target, body, **headers)
            assert _is_well(status, answer), (method, target, body, answer)
    for accept in ("application/json", "application/json;as=Table;g=meta.k8s.io;v=v1"):
        assert api.call("GET", path, Accept=accept)[0] == 200
    api.call("DELETE", f"{path}/{name}")
    assert api.get("/healthz") == b"ok"


def test_patch_bombs_are_refused_at_once(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/configmaps"
    api.call("POST", place, {"metadata": {"name": "one"}, "data": {"a": "x" * 1000}})
    doubling = [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(60)]
    endless = [{"op": "test", "path": "/data/a", "value": 1}] * 20_000
    deep = [{"op": "add", "path": "/metadata/labels", "value": {}}]
    deep += [{"op": "add", "path": f"/metadata/labels{'/a' * depth}", "value": {}} for depth in range(1, 1500)]
    nested: Any = "x"
    for _ in range(400):
        nested = {"a": nested}
    started = time.monotonic()
    for body, content, expected in (
        (doubling, JSON_PATCH, (413,)),
        (endless, JSON_PATCH, (413,)),
        (deep, JSON_PATCH, (400, 422)),
        ({"data": nested}, MERGE, (400,)),
        ({"data": nested}, STRATEGIC, (400,)),
        ({"data": nested}, APPLY, (400,)),
    ):
        status, answer = api.call("PATCH", f"{place}/one?fieldManager=f", body, Content_Type=content)
        if content == APPLY or (content == STRATEGIC and status == 415):
            assert status in (400, 415), answer
        else:
            assert status in expected, (content, answer)
    assert time.monotonic() - started < 20  # some 0.3 s; unbounded it would not end
    assert api.get(f"{place}/one")["data"] == {"a": "x" * 1000}


def test_lists_that_merge_by_key_cost_no_more_than_their_length(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/pods"
    variables = [{"name": f"A{number}", "value": "1"} for number in range(15_000)]
    body = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "c", "image": "x:1", "env": variables}]}}
    assert api.call("POST", place, body)[0] == 201
    patch = {"spec": {"containers": [{"name": "c", "env": [{**one, "value": "2"} for one in variables]}]}}
    started = time.monotonic()
    status, answer = api.call("PATCH", f"{place}/one", patch, Content_Type=STRATEGIC)
    assert (status, answer["reason"]) == (422, "Invalid")  # understood, and a Pod's variables may not change
    assert time.monotonic() - started < 15  # some 1 s; by comparing each with each it would be minutes


def test_an_alias_bomb_is_refused(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/configmaps/x?fieldManager=f"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    status, answer = api.call("PATCH", place, "\n".join(lines).encode(), Content_Type=APPLY)
    assert status == 400, answer
    assert "values" in answer["message"]


def test_yaml_is_read_as_json_reads_it(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/api/v1/namespaces/{namespace}/configmaps/x?fieldManager=f"
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
    status, answer = api.call("PATCH", place, f"{head}data: {{1: one, false: two}}".encode(), Content_Type=APPLY)
    assert (status, answer["data"]) == (201, {"1": "one", "false": "two"})
    for odd in ("data: {a: .nan}", "data: {a: !!binary aGk=}", "data: {a: 2024-01-01}", "data: !!set {a, b}"):
        status, answer = api.call("PATCH", place, f"{head}{odd}".encode(), Content_Type=APPLY)
        assert _is_well(status, answer), answer


def test_numbers_and_text_that_no_json_can_carry_are_not_stored(api: ApiClient) -> None:
    place = f"/api/v1/namespaces/{api.namespace()}/configmaps"
    for number in (b"NaN", b"Infinity", b"-Infinity"):
        assert api.call("POST", place, b'{"metadata":{"name":"x"},"data":{"a":%b}}' % number)[0] == 400
    status, answer = api.call("POST", place, b'{"metadata":{"name":"x"},"data":{"a":"\\ud800"}}')
    assert (status, set(answer["data"]["a"])) == (201, {"\ufffd"})
    assert json.loads(json.dumps(api.get(f"{place}/x"), ensure_ascii=False))["data"] == answer["data"]


def test_what_is_too_large_to_keep_is_refused(api: ApiClient) -> None:
    namespace = api.namespace()
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    status, answer = api.call("POST", place, {"metadata": {"name": "x"}, "data": {"a": "x" * (1 << 20), "b": "y"}})
    assert (status, answer["reason"]) == (422, "Invalid")
    schema = {"type": "object", "properties": {"s": {"type": "string", "description": "x" * 1_700_000}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "larges", "kind": "Large"}
    spec = {"group": "fuzz.example.com", "scope": "Cluster", "names": names, "versions": [version]}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "larges.fuzz.example.com"},
        "spec": spec,
    }
    status, answer = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize(
    "token", ["x", "%00", "e30", "eyJ2IjoxfQ", "A" * 5000, "eyJ2Ijoic2FuZGJveC92MSIsInJ2IjoxLCJhZnRlciI6MX0", "%F0%9F"]
)
def test_a_forged_continue_token_is_refused(api: ApiClient, token: str) -> None:
    status, answer = api.call("GET", f"/api/v1/configmaps?limit=1&continue={token}")
    assert (status, answer["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "limit=99999999999999999999999",
        "resourceVersion=x",
        "resourceVersion=-1",
        "resourceVersion=%D9%A1",
        "resourceVersion=99999999999999999999",
        "resourceVersion=999999999",
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Most&resourceVersion=1",
        "resourceVersionMatch=Exact&resourceVersion=0",
        "sendInitialEvents=true",
        "watch=1&sendInitialEvents=true",
        "watch=1&resourceVersion=x",
        "watch=1&resourceVersionMatch=Exact&resourceVersion=1",
        "watch=1&labelSelector=a%20b%20c",
        "watch=1&timeoutSeconds=%C2%B2&resourceVersion=x",
        "fieldSelector=status.nothing%3D1",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(api: ApiClient, query: str) -> None:
    status, answer = api.call("GET", f"/api/v1/configmaps?{query}")
    assert status in (400, 422, 504), answer
    assert answer["kind"] == "Status"


def test_a_pattern_that_never_ends_elsewhere_ends_here(api: ApiClient) -> None:
    spec = {"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}}
    schema = {"type": "object", "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "slows", "kind": "Slow"}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "slows.fuzz.example.com"},
        "spec": {"group": "fuzz.example.com", "scope": "Cluster", "names": names, "versions": [version]},
    }
    assert api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)[0] == 201
    slow = {
        "apiVersion": "fuzz.example.com/v1",
        "kind": "Slow",
        "metadata": {"name": "x"},
        "spec": {"s": "a" * 60 + "!"},
    }
    status, answer = api.call("POST", "/apis/fuzz.example.com/v1/slows", slow)
    assert (status, answer["reason"]) == (422, "Invalid")
    slow["spec"] = {"s": "a" * 60}
    assert api.call("POST", "/apis/fuzz.example.com/v1/slows", slow)[0] == 201
    api.call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/slows.fuzz.example.com")


def test_a_wish_for_a_million_pods_holds_nobody_up(api: ApiClient) -> None:
    namespace = api.namespace()
    for plural in ("deployments", "statefulsets"):
        spec = {**WORKLOAD, "replicas": 2_000_000_000, "podManagementPolicy": "Parallel", "serviceName": "s"}
        if plural == "deployments":
            spec = {key: one for key, one in spec.items() if key not in ("podManagementPolicy", "serviceName")}
        place = f"/apis/apps/v1/namespaces/{namespace}/{plural}"
        assert api.call("POST", place, {"metadata": {"name": "much"}, "spec": spec})[0] == 201
        for _ in range(20):
            started = time.monotonic()
            api.get("/api/v1/namespaces/default")
            assert time.monotonic() - started < 10  # some 0.2 s; unbounded it would not end
        api.call("DELETE", f"{place}/much")
    api.call("DELETE", f"/api/v1/namespaces/{namespace}")
