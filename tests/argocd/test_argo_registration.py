"""Clusters registered with Argo CD: a token of the cluster, a Secret in the management cluster, and both removed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from reconciler.kinds.application_set.harness import NAMESPACE
from reconciler.transports.kube import KubeTransport
from tests.argocd.argo_lab import DEVOPS, ArgoLab, application_set
from tests.clusters.sandbox_lab import cluster
from tests.daemon.lab import document, until

ABSENT = {"state": "absent"}
STRIDE = 17
SECRETS = "/api/v1/namespaces/argocd/secrets"
ACCOUNT = "/api/v1/namespaces/kube-system/serviceaccounts/argocd-manager"
TOKEN = "/api/v1/namespaces/kube-system/secrets/argocd-manager-token"
BINDING = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/argocd-manager-role-binding"


def secret(lab: ArgoLab, name: str) -> dict[str, Any] | None:
    """The Secret by which Argo CD knows a cluster, its values decoded."""
    with lab.api() as api:
        live = api.get(f"{SECRETS}/cluster-{name}")
    if live is None:
        return None
    values = {key: base64.b64decode(text).decode() for key, text in live["data"].items()}
    return {**live, **values, "config": json.loads(values["config"])}


def registered(lab: ArgoLab) -> list[str]:
    """The clusters that Argo CD knows."""
    with lab.api() as api:
        found = api.list(SECRETS, label_selector="argocd.argoproj.io/secret-type=cluster")
    return sorted(base64.b64decode(one["data"]["name"]).decode() for one in found)


def as_argo_cd(lab: ArgoLab, name: str) -> KubeTransport:
    """The cluster's API as Argo CD reaches it: with what stands in the Secret, and nothing else."""
    known = secret(lab, name)
    assert known is not None
    tls = known["config"]["tlsClientConfig"]
    reach = {"server": known["server"], "certificate-authority-data": tls["caData"]}
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": reach}],
        "users": [{"name": "u", "user": {"token": known["config"]["bearerToken"]}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = lab.root / f"argo-{name}.yaml"
    path.write_text(json.dumps(kubeconfig))
    return KubeTransport(path)


def traces(lab: ArgoLab, token: str) -> list[str]:
    """Files of the home that hold a token, but for the sandbox's own store, which is the live system."""
    files = [
        path for path in lab.home.rglob("*") if path.is_file() and "sandbox" not in path.relative_to(lab.home).parts
    ]
    needles = (token.encode(), base64.b64encode(token.encode()))
    return [path.name for path in files if any(needle in path.read_bytes() for needle in needles)]


def test_a_registered_cluster_can_be_used_by_argo_cd_until_it_is_deleted(lab: ArgoLab) -> None:
    """Its Secret works; its token is nowhere else; drift is put right; with the cluster it goes."""
    spec = {"argocd": {"labels": {"tier": "gold"}, "annotations": {"owner": "us"}}}
    lab.write("one.yaml", cluster("one", **spec))
    planned = lab.plan()["Cluster/one"]
    assert [step["name"] for step in planned["steps"]][-3:] == ["register", "record", "verify"]
    lab.apply()
    known = secret(lab, "one")
    assert known is not None
    expected = {"argocd.argoproj.io/secret-type": "cluster", "env": "one", "provider": "sandbox", "type": "business"}
    assert {**expected, "tier": "gold"}.items() <= known["metadata"]["labels"].items()
    assert known["metadata"]["annotations"] == {"portainer-edge-id": "", "portainer-edge-key": "", "owner": "us"}
    assert (known["type"], known["name"], known["server"]) == ("Opaque", "one", lab.made()["one"]["server"])
    assert set(known["config"]["tlsClientConfig"]) == {"caData"}
    with as_argo_cd(lab, "one") as api:
        assert api.get(ACCOUNT) is not None
    assert (lab.plan(), traces(lab, known["config"]["bearerToken"])) == ({}, [])
    with lab.api() as management, lab.api("one") as business:
        assert management.delete(f"{SECRETS}/cluster-one")
        assert business.delete(BINDING)
    planned = lab.plan()["Cluster/one"]
    assert {one["path"]: one["before"] for one in planned["diffs"]} == {
        "spec.argocd.account": "ClusterRoleBinding argocd-manager-role-binding is missing",
        "spec.argocd.secret": "it is missing",
    }
    assert [step["name"] for step in planned["steps"]] == ["register", "record", "verify"]
    lab.apply()
    assert (registered(lab).count("one"), lab.plan()) == (1, {})
    lab.write("one.yaml", cluster("one", ABSENT, **spec))
    lab.apply()
    assert (secret(lab, "one"), lab.made().get("one")) == (None, None)
    assert lab.order("Cluster/one")[-5:-3] == [("Cluster/one", "mark"), ("Cluster/one", "unregister")]
    assert lab.rows("SELECT * FROM cluster_attachments WHERE cluster = 'one'") == []


def test_a_new_token_is_a_change_that_shows_no_token(lab: ArgoLab) -> None:
    lab.write("two.yaml", cluster("two", argocd={}))
    lab.apply()
    old = secret(lab, "two")
    assert old is not None
    with lab.api("two") as api:
        assert api.delete(TOKEN)
        until(lambda: api.get(TOKEN) is None)
    assert lab.plan()["Cluster/two"]["diffs"][0]["before"] == "Secret argocd-manager-token is missing"
    lab.apply()
    new = secret(lab, "two")
    assert new is not None
    assert new["config"]["bearerToken"] != old["config"]["bearerToken"]
    config = base64.b64encode(json.dumps(old["config"]).encode()).decode()
    lab.patch(f"{SECRETS}/cluster-two", {"data": {"config": config}})
    shown = lab.run("plan", lab.specs, "-o", "json").out
    assert "its token differs" in shown
    assert old["config"]["bearerToken"] not in shown + lab.ok("events") + lab.ok("logs", "Cluster/two")
    lab.apply()
    with as_argo_cd(lab, "two") as api:
        assert api.ready()
    assert traces(lab, new["config"]["bearerToken"]) == []


def test_a_registration_that_no_spec_asks_for_any_more_is_removed(lab: ArgoLab) -> None:
    lab.write("three.yaml", cluster("three", argocd={"insecure": True, "server": "https://three.example.com:6443"}))
    lab.apply()
    known = secret(lab, "three")
    assert known is not None
    assert known["server"] == "https://three.example.com:6443"
    assert known["config"]["tlsClientConfig"] == {"insecure": True}, "never with a certificate authority beside it"
    lab.write("three.yaml", cluster("three"))
    lab.apply()
    with lab.api("three") as api:
        assert [api.get(path) for path in (ACCOUNT, TOKEN, BINDING)] == [None, None, None]
    assert (secret(lab, "three"), lab.plan()) == (None, {})


def test_a_cluster_that_cannot_be_reached_is_let_go_all_the_same(lab: ArgoLab) -> None:
    """Its Secret goes; what is in it is left, and that is said."""
    kubeconfig = lab.raw_cluster("four-away")
    spec = {"provider": "existing", "kubeconfig": {"path": str(kubeconfig)}, "argocd": {"cluster": DEVOPS}}
    lab.write("four.yaml", document("Cluster", "four", spec))
    lab.apply()
    assert secret(lab, "four") is not None
    lab.remove_by_hand("four-away")
    lab.write("four.yaml", document("Cluster", "four", spec, ABSENT))
    lab.run("apply", lab.specs, "--yes")
    assert secret(lab, "four") is None
    assert lab.row("four") is None
    assert [event["message"].split(",")[0] for event in lab.events("Cluster/four", "AccountLeft")] == [
        "four cannot be reached"
    ]


def test_a_secret_of_somebody_else_for_another_cluster_is_not_touched(lab: ArgoLab) -> None:
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cluster-five", "namespace": "argocd"}}
    server = base64.b64encode(b"https://elsewhere.example.com").decode()
    with lab.api() as api:
        api.apply({**theirs, "data": {"server": server}})
    lab.write("five.yaml", cluster("five", argocd={}), application_set("five"))
    assert "is not ours and registers https://elsewhere.example.com" in lab.apply(code=None)
    assert "five" not in lab.names("five"), "a cluster that was never verified has no element"
    with lab.api() as api:
        assert (api.get(f"{SECRETS}/cluster-five") or {})["data"] == {"server": server}
        assert api.delete(f"{SECRETS}/cluster-five")
    lab.apply()
    assert "five" in lab.names("five")
    assert "five" in registered(lab)


def test_a_registration_waits_for_the_management_cluster_of_the_same_apply(other: ArgoLab) -> None:
    """Nothing says that one needs the other; with nobody to register it with, a cluster is not called running."""
    other.write("all.yaml", cluster("zeta", argocd={}))
    assert "no cluster with role management is recorded" in other.apply(code=1)
    assert other.state("zeta") == "failed"
    other.write("all.yaml", cluster(DEVOPS, role="management", manifests=[NAMESPACE]), cluster("zeta", argocd={}))
    other.apply()
    assert (other.state("zeta"), registered(other), other.plan()) == ("running", ["zeta"], {})


class Dying:
    """A cluster of one's own, registered and with its set, or neither: the way there is killed somewhere."""

    def __init__(self, lab: ArgoLab) -> None:
        self.lab = lab
        self.name = f"dying-{lab.specs.name.partition('-')[0]}"

    def want(self, *, registered: bool) -> None:
        """Write down which."""
        spec = {"argocd": {}} if registered else {}
        selector = {"matchLabels": {"name": self.name}}
        a_set = application_set(self.name, None if registered else ABSENT, selector=selector)
        self.lab.write("all.yaml", cluster(self.name, **spec), a_set)

    def settle(self) -> None:
        """Apply until it is done; then nothing is to do, and nothing remembers that anybody died."""
        if self.lab.run("apply", self.lab.specs, "--yes").code:  # what was half done may first be seen as failed
            self.lab.apply()
        assert self.lab.plan() == {}
        assert self.lab.is_whole()

    def begin(self, *, registered: bool) -> None:
        """The other of the two is there, and this one is wanted."""
        self.want(registered=not registered)
        self.settle()
        self.want(registered=registered)

    def show(self, *, registered: bool) -> None:
        """Everything is there, or nothing of it and no note of it either."""
        self.settle()
        assert (secret(self.lab, self.name) is not None) is registered
        attached = self.lab.rows("SELECT * FROM cluster_attachments WHERE cluster = ?", self.name)
        placed = self.lab.rows("SELECT * FROM application_sets WHERE name = ?", self.name)
        assert [len(attached), len(placed)] == ([1, 1] if registered else [0, 0])
        assert self.lab.live_set(self.name) is None or registered
        assert not registered or self.lab.names(self.name) == [self.name]

    def killed(self, line: int, *, registered: bool) -> None:
        """The way to one of them, killed at a line, and gone on by somebody else."""
        self.begin(registered=registered)
        assert self.lab.dies_at(line), line
        self.show(registered=registered)


def test_killed_inside_a_registration(lab: ArgoLab) -> None:
    dying = Dying(lab)
    dying.want(registered=True)
    dying.killed(int(lab.lines() * 0.8), registered=True)


@pytest.mark.soak
@pytest.mark.parametrize("registered", [True, False])
def test_killed_at_every_seventeenth_line(lab: ArgoLab, registered: bool) -> None:
    dying = Dying(lab)
    dying.begin(registered=registered)
    for line in range(1, lab.lines(), STRIDE):
        dying.killed(line, registered=registered)


@pytest.mark.soak
@pytest.mark.parametrize("moment", ["opened", "closed"])
@pytest.mark.parametrize(("registered", "kind", "step"), [
    (True, "Cluster", "register"),
    (True, "ApplicationSet", "apply"),
    (False, "Cluster", "unregister"),
    (False, "ApplicationSet", "delete"),
])  # fmt: skip
def test_killed_at_the_boundaries_of_the_steps(
    lab: ArgoLab, registered: bool, kind: str, step: str, moment: str
) -> None:
    dying = Dying(lab)
    dying.begin(registered=registered)
    ref = f"{kind}/{dying.name}"
    before = len(lab.steps(ref))

    def reached() -> bool:
        outcome = dict(lab.steps(ref)[before:]).get(step)
        return outcome is not None and (moment == "opened" or outcome != "open")

    lab.kill_when(lab.start("apply", lab.specs, "--yes"), reached)
    dying.show(registered=registered)
