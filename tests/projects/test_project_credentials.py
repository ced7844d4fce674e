"""The Secret that Flux reads a repository with, when its type has to be another: Kubernetes lets nobody change that."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from project_lab import LabCluster, ProjectLab, Shop

TOKEN = {"repository": {"auth": {"token": {"fromEnv": "RECONCILER_SECRET_TOKEN"}}}, "flux": {}}
KEY = {
    "repository": {"auth": {"sshKey": {"fromEnv": "RECONCILER_SECRET_KEY"}, "knownHosts": "git.example ssh-ed25519 A"}},
    "flux": {"url": "ssh://git@git.example/shop.git"},
}
TYPES = {"token": "kubernetes.io/basic-auth", "sshKey": "Opaque"}
HELD = ["example.com/held"]
HANGS_UP: tuple[int, dict[str, Any]] = (0, {})


@pytest.fixture
def dev(lab: ProjectLab) -> LabCluster:
    """The cluster of the projects here."""
    return lab.clusters["dev"]


def made(lab: ProjectLab, name: str, spec: Mapping[str, Any]) -> Shop:
    """A project that is there, with these credentials."""
    shop = lab.shop(name, **spec)
    shop.environ = {"RECONCILER_SECRET_TOKEN": "one", "RECONCILER_SECRET_KEY": "a key"}
    shop.apply()
    return shop


def assert_has(shop: Shop, dev: LabCluster, auth: str) -> dict[str, Any]:
    """Everything is as the document with this kind of credentials says. Gives the Secret."""
    live = dev.client.get(shop.secret_path())
    keys = {"token": ["password", "username"], "sshKey": ["identity", "known_hosts"]}
    assert (live["type"], sorted(live["data"])) == (TYPES[auth], keys[auth])
    assert live["metadata"]["labels"]["reconciler.dev/project-id"] == shop.id
    assert (shop.row["status"], {*shop.steps().values()}) == ("active", {"completed"})
    assert not shop.lab.rows("SELECT * FROM steps WHERE outcome = 'open'")
    assert shop.plan() is None
    return dict(live)


def merge(dev: LabCluster, path: str, metadata: Mapping[str, Any]) -> None:
    """Change the metadata of an object by hand."""
    body = {"metadata": metadata}
    code, answer = dev.client.call("PATCH", path, body, Content_Type="application/merge-patch+json")
    assert code == 200, answer


@pytest.mark.parametrize(("before", "after"), [("token", "sshKey"), ("sshKey", "token")])
def test_other_credentials_make_the_secret_anew(lab: ProjectLab, dev: LabCluster, before: str, after: str) -> None:
    """It is applied once it is gone, which may take a while."""
    specs = {"token": TOKEN, "sshKey": KEY}
    shop = made(lab, f"from-{before.lower()}", specs[before])
    old, path = assert_has(shop, dev, before), shop.secret_path()
    merge(dev, path, {"finalizers": HELD})
    looks: list[str] = []

    def let_go(method: str, asked: str) -> None:
        if (method, asked) == ("GET", path):
            looks.append(dev.client.get(path)["metadata"]["deletionTimestamp"])
            if len(looks) == 3:
                merge(dev, path, {"finalizers": None})

    dev.gate.forget()
    with dev.gate.misbehaving(let_go):
        shop.apply(**specs[after])
    assert len(looks) == 3
    assert dev.gate.writes() == [("DELETE", path), ("PATCH", path), ("PATCH", shop.source_path())]
    assert assert_has(shop, dev, after)["metadata"]["uid"] != old["metadata"]["uid"]


@pytest.mark.parametrize("held", [False, True])
def test_killed_between_deleting_and_making_the_secret_the_next_apply_makes_it(
    lab: ProjectLab, dev: LabCluster, held: bool
) -> None:
    """held: it is still on its way out when the process is killed, and when the next one begins."""
    shop = made(lab, f"killed-{held}".lower(), TOKEN)
    path = shop.secret_path()
    if held:
        merge(dev, path, {"finalizers": HELD})
    shop.spec |= KEY
    killed = threading.Event()
    process = None

    def kill(method: str, asked: str) -> tuple[int, dict[str, Any]] | None:
        is_after = ("DELETE", path) in dev.gate.writes()
        if process is None or not is_after or asked.partition("?")[0] != path or method == "DELETE":
            return None
        if not held and method == "GET":
            return None
        process.process.kill()
        killed.set()
        return HANGS_UP

    dev.gate.forget()
    with dev.gate.misbehaving(kill):
        process = shop.start()
        assert process.wait() != 0
    assert killed.is_set()
    code, live = dev.client.call("GET", path)
    assert (code, bool(code == 200 and live["metadata"]["deletionTimestamp"])) == (200 if held else 404, held)

    def let_go(method: str, asked: str) -> None:
        if held and (method, asked) == ("GET", path) and dev.client.call("GET", path)[0] == 200:
            merge(dev, path, {"finalizers": None})

    with dev.gate.misbehaving(let_go):
        shop.apply()
    assert_has(shop, dev, "sshKey")
    deletions = [one for one in dev.gate.writes() if one[0] == "DELETE"]
    assert deletions == [("DELETE", path)], "once"


@pytest.mark.parametrize("name", ["app.kubernetes.io/managed-by", "reconciler.dev/name", "reconciler.dev/project-id"])
def test_a_secret_of_another_type_that_is_not_ours_stays_and_is_named(
    lab: ProjectLab, dev: LabCluster, name: str
) -> None:
    shop = made(lab, f"theirs-{name.rpartition('/')[2]}", TOKEN)
    path = shop.secret_path()
    merge(dev, path, {"labels": {name: "somebody"}})
    before = dev.client.get(path)
    dev.gate.forget()
    text = shop.apply(code=None, **KEY)
    assert [word for word in ("labels are not those of this project", "move or delete it") if word not in text] == []
    assert (dev.client.get(path), dev.gate.writes()) == (before, [])
    assert (shop.steps()["setup_gitops"], lab.status(shop.ref)["reason"]) == ("failed", "Rejected")
    assert dev.client.call("DELETE", path)[0] == 200
    shop.apply()
    assert_has(shop, dev, "sshKey")
