"""Looking at many objects: which requests that takes, and that nothing which is there counts as absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tls_api import Api

from reconciler.errors import TerminalError, TransientError
from reconciler.transports.kube import KubeTransport
from reconciler.transports.kube_objects import fetch, side_by_side

SECRETS = "/api/v1/secrets"


@pytest.fixture
def kube(api: Api, tmp_path: Path) -> Iterator[KubeTransport]:
    with KubeTransport(api.kubeconfig(tmp_path), timeout=5.0) as transport:
        yield transport


def path_of(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"


def listed(*places: tuple[str, str]) -> tuple[int, Any]:
    found = [{"metadata": {"name": name, **({"namespace": space} if space else {})}} for space, name in places]
    return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": found}


def asked(api: Api) -> list[str]:
    return [path.partition("?")[0] for _, path, _ in api.seen]


def test_a_few_are_asked_for_one_by_one(api: Api, kube: KubeTransport) -> None:
    api.replies[f"GET {path_of('x', 'a')}"] = (200, {"metadata": {"name": "a"}})
    assert set(fetch(kube, {path_of("x", "a"), path_of("y", "b")})) == {path_of("x", "a")}
    assert sorted(asked(api)) == [path_of("x", "a"), path_of("y", "b")]


def test_many_in_one_namespace_are_one_list_of_it(api: Api, kube: KubeTransport) -> None:
    collection = "/api/v1/namespaces/x/secrets"
    api.replies[f"GET {collection}"] = listed(*(("x", f"s{number}") for number in range(9)), ("x", "other"))
    paths = {path_of("x", f"s{number}") for number in range(10)}
    assert set(fetch(kube, paths)) == paths - {path_of("x", "s9")}
    assert asked(api) == [collection]


def test_many_in_many_namespaces_are_one_list_of_all(api: Api, kube: KubeTransport) -> None:
    places = [(f"n{number}", "s") for number in range(20)]
    api.replies[f"GET {SECRETS}"] = listed(*places, ("elsewhere", "s"))
    paths = {path_of(*place) for place in places}
    assert set(fetch(kube, paths)) == paths
    assert asked(api) == [SECRETS]


def test_where_not_all_may_be_listed_each_namespace_is(api: Api, kube: KubeTransport) -> None:
    api.replies[f"GET {SECRETS}"] = (403, {"message": "secrets is forbidden"})
    for number in range(5):
        api.replies[f"GET /api/v1/namespaces/n{number}/secrets"] = listed((f"n{number}", "s"))
    paths = {path_of(f"n{number}", "s") for number in range(5)}
    assert set(fetch(kube, paths)) == paths
    assert len(asked(api)) == 6
    api.replies[f"GET {SECRETS}"] = (500, {"message": "etcd is away"})
    with pytest.raises(TransientError, match="etcd is away"):
        fetch(kube, paths)


def test_names_are_compared_as_they_stand_in_paths(api: Api, kube: KubeTransport) -> None:
    """Such as `system:node`, which a path has as `system%3Anode`."""
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    api.replies[f"GET {roles}"] = listed(*(("", f"shop:{number}") for number in range(5)))
    paths = {f"{roles}/shop%3A{number}" for number in range(5)}
    assert set(fetch(kube, paths)) == paths


def test_side_by_side_ends_with_what_was_under_way_and_the_first_error() -> None:
    done: list[int] = []

    def call(number: int) -> int:
        if number == 3:
            raise TerminalError("Rejected", "no")
        done.append(number)
        return number * 2

    assert dict(side_by_side(call, [0, 1, 2])) == {0: 0, 1: 2, 2: 4}
    done.clear()
    with pytest.raises(TerminalError, match="no"):
        list(side_by_side(call, range(100), most=4))
    assert len(done) < 100
    stopped = side_by_side(call, range(3), most=1)
    next(stopped)
    stopped.close()
