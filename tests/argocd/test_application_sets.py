"""Application sets against a cluster that knows Argo CD's types: elements from records, order, drift, deletion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.argocd.argo_lab import DEVOPS, ArgoLab, application_set
from tests.clusters.sandbox_lab import cluster
from tests.daemon.lab import document, until

ABSENT = {"state": "absent"}
BROKEN = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}}


def chosen(group: str) -> dict[str, Any]:
    """A selector for the clusters of one test."""
    return {"selector": {"matchLabels": {"group": group}}}


def grouped(name: str, group: str, lifecycle: dict[str, Any] | None = None, **spec: Any) -> str:
    """A sandbox cluster with the label that `chosen` selects."""
    return document("Cluster", name, {"provider": "sandbox", **spec}, lifecycle, {"group": group})


def test_row_0_23_the_set_comes_after_the_records_of_the_clusters(lab: ArgoLab) -> None:
    """One apply makes two clusters and the set: applied once, after both are recorded, with both; then all is done."""
    lab.write("all.yaml", application_set("order"), cluster("order-b"), cluster("order-a"))
    planned = lab.plan()["ApplicationSet/order"]
    assert sorted(planned["follows"]) == ["Cluster/order-a", "Cluster/order-b"]
    lab.apply()
    order = lab.order("Cluster/order-a", "Cluster/order-b", "ApplicationSet/order")
    assert order.count(("ApplicationSet/order", "apply")) == 1
    assert order[-1] == ("ApplicationSet/order", "apply")
    assert [("Cluster/order-a", "record") in order, ("Cluster/order-b", "record") in order] == [True, True]
    assert {"order-a", "order-b"} <= set(lab.names("order"))
    assert lab.plan() == {}


def test_case_08_k26_elements_are_the_recorded_business_clusters_sorted(lab: ArgoLab) -> None:
    """Also row 0-30: whatever made the records. With none at all, the empty list is applied (K26)."""
    lab.write("all.yaml", application_set("case-08"), cluster("zeta"), cluster("alpha"))
    lab.apply()
    assert lab.names("case-08") == lab.business_names()
    assert {"alpha", "zeta"} < {*lab.names("case-08"), DEVOPS}
    assert set(lab.elements("case-08")[0]) == {"env", "hostEnv", "branch", "clusterName", "ingressClass"}
    group = grouped("only", "k26")
    lab.write("all.yaml", application_set("k26", **chosen("k26")), group)
    lab.apply()
    assert lab.names("k26") == ["only"]
    lab.write("all.yaml", application_set("k26", **chosen("k26")), grouped("only", "k26", ABSENT))
    lab.apply()
    assert lab.order("Cluster/only", "ApplicationSet/k26")[-2:] == [
        ("Cluster/only", "forget"),
        ("ApplicationSet/k26", "apply"),
    ]
    live = lab.live_set("k26")
    assert live is not None
    assert live["spec"]["generators"] == [{"list": {"elements": []}}]
    assert lab.plan() == {}


def test_case_23_k27_a_cluster_that_cannot_be_reached_keeps_its_element(lab: ArgoLab) -> None:
    kubeconfig = lab.raw_cluster("far-away")
    far = document(
        "Cluster", "far", {"provider": "existing", "kubeconfig": {"path": str(kubeconfig)}}, None, {"group": "k27"}
    )
    lab.write("far.yaml", far, application_set("k27", **chosen("k27")), application_set("there", cluster="far"))
    lab.run("apply", lab.specs, "--yes")
    assert lab.names("k27") == ["far"]
    lab.remove_by_hand("far-away")
    changed = application_set("k27", **chosen("k27"), values={"tier": "gold"})
    lab.write("far.yaml", far, changed, application_set("there", {**ABSENT}, cluster="far"))
    done = lab.run("apply", lab.specs, "--yes")
    assert done.code != 0, "a cluster cannot be reached, and that is said"
    assert [(one["clusterName"], one["tier"]) for one in lab.elements("k27")] == [("far", "gold")]
    assert lab.state("far") == "running"
    assert len(lab.changes("ApplicationSet/there")) == 1, "what lives in it is neither there nor gone: nobody knows"


def test_only_a_cluster_that_was_seen_to_work_has_an_element_and_keeps_it(lab: ArgoLab) -> None:
    """Case 21: a creation that failed at any of its steps gives no element. K27: a later failure takes none away."""
    both = application_set("worked", **chosen("worked"))
    lab.write("all.yaml", both, grouped("bad", "worked", manifests=[BROKEN]), grouped("good", "worked"))
    lab.apply(code=3)
    assert (lab.state("bad"), lab.names("worked")) == ("failed", ["good"])
    lab.write("all.yaml", both, grouped("bad", "worked"), grouped("good", "worked", manifests=[BROKEN]))
    lab.apply(code=3)
    assert (lab.state("good"), lab.names("worked")) == ("failed", ["bad", "good"])


def test_the_plan_shows_which_clusters_come_and_go_and_drift_is_put_right(lab: ArgoLab) -> None:
    lab.write("all.yaml", application_set("drift", **chosen("drift")), grouped("d1", "drift"), grouped("d2", "drift"))
    lab.apply()
    kept = [one for one in lab.elements("drift") if one["env"] == "d1"]
    elements = [{**kept[0], "branch": "main"}, {"clusterName": "ghost"}]
    lab.by_hand("drift", {"spec": {"generators": [{"list": {"elements": elements}}], "goTemplate": False}})
    planned = lab.plan()["ApplicationSet/drift"]
    shown = {one["path"]: (one["before"], one["after"]) for one in planned["diffs"]}
    assert shown == {
        "spec.elements": ({"toAdd": ["d2"], "toRemove": ["ghost"], "toChange": {"d1": ["branch"]}}, "current"),
        "spec.manifest.spec.goTemplate": (False, True),
    }
    lab.apply()
    assert (lab.names("drift"), lab.plan()) == (["d1", "d2"], {})
    told = json.loads(lab.ok("describe", "ApplicationSet/drift", "-o", "json"))
    assert told["recorded"] == {"cluster": DEVOPS, "namespace": "argocd", "elements": "d1, d2"}


def test_what_somebody_else_made_is_taken_over_only_on_request(lab: ArgoLab) -> None:
    spec = {"generators": [], "template": {"metadata": {}, "spec": {"project": "theirs", "destination": {}}}}
    lab.by_hand("theirs", {"spec": spec}, "argo-cli")
    lab.write("set.yaml", application_set("theirs", **chosen("nobody")))
    assert "argo-cli" in lab.apply(code=7)
    assert (lab.live_set("theirs") or {})["spec"]["template"]["spec"]["project"] == "theirs"
    lab.write("set.yaml", application_set("theirs", **chosen("nobody"), force=True))
    lab.apply()
    assert (lab.live_set("theirs") or {})["spec"]["template"]["spec"]["project"] == "default"
    assert lab.plan() == {}


def test_another_namespace_is_another_set_and_its_deletion_waits_for_finalizers(lab: ArgoLab) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gitops"}}
    with lab.api() as api:
        api.apply(namespace)
    lab.write("set.yaml", application_set("moving", **chosen("nobody")))
    lab.apply()
    lab.write("set.yaml", application_set("moving", **chosen("nobody"), namespace="gitops"))
    assert "spec.namespace cannot be changed in place" in lab.apply(code=7)
    lab.write("set.yaml", application_set("moving", {"replace": "allow"}, **chosen("nobody"), namespace="gitops"))
    lab.apply()
    assert (lab.live_set("moving"), lab.plan()) == (None, {})
    held = {"metadata": {"finalizers": ["argocd.argoproj.io/applicationset"]}}
    lab.by_hand("moving", held, "argocd", "gitops")
    lab.write("set.yaml", application_set("moving", ABSENT, **chosen("nobody"), namespace="gitops"))
    command = lab.start("apply", lab.specs, "--yes")
    until(lambda: (lab.live_set("moving", "gitops") or {})["metadata"].get("deletionTimestamp"), command.err)
    assert command.alive
    lab.by_hand("moving", {}, "argocd", "gitops")
    assert command.wait() == 0, command.err()
    assert lab.live_set("moving", "gitops") is None
    assert lab.rows("SELECT * FROM application_sets WHERE name = 'moving'") == []


def test_without_the_one_management_cluster_it_says_what_is_missing(other: ArgoLab) -> None:
    other.write("set.yaml", application_set("lost"))
    assert "no cluster with role management is recorded" in other.ok("plan", other.specs)
    assert "no cluster with role management is recorded" in other.apply(code=7)
    for name in ("devops", "ops"):
        other.write_sql(f"INSERT INTO clusters (name, provider, role) VALUES ('{name}', 'sandbox', 'management')")
    shown = other.run("plan", other.specs, "--limit", "ApplicationSet/lost").text
    assert "devops, ops all have role management: name one in spec.cluster" in shown


@pytest.mark.parametrize("place", [{"cluster": DEVOPS}, {}], ids=["named", "management"])
def test_the_daemon_follows_clusters_and_puts_drift_right_at_once(lab: ArgoLab, place: dict[str, str]) -> None:
    """No interval is waited for: it is five minutes. Also where no document says which cluster it lives in."""
    name = "daily" if place else "nightly"
    lab.write("set.yaml", application_set(name, **place, **chosen(name)))
    daemon = lab.daemon()
    lab.await_ready(f"ApplicationSet/{name}")
    assert lab.names(name) == []
    lab.write("daily.yaml", grouped(f"in-{name}", name))
    until(lambda: lab.names(name) == [f"in-{name}"], daemon.err)
    lab.by_hand(name, {"spec": {"goTemplate": False}})
    until(lambda: (lab.live_set(name) or {})["spec"]["goTemplate"], daemon.err)
    lab.write("daily.yaml", grouped(f"in-{name}", name, ABSENT))
    until(lambda: lab.names(name) == [], daemon.err)
    assert daemon.terminate() == 0
