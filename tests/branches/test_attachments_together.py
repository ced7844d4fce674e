"""What follows a cluster beside its branch: each is made, removed and recorded by itself, whatever becomes of one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reconciler.kinds.application_set.harness import NAMESPACE
from reconciler.transports.kube import KubeTransport
from tests.branches.branch_lab import BranchLab
from tests.clusters.sandbox_lab import cluster
from tests.routes.haproxy_lab import HaproxyLab, needs_haproxy

ROUTE = {"ports": {"httpPort": 18099}, "route": {}}


@pytest.fixture
def routes(lab: BranchLab, tmp_path: Path) -> HaproxyLab:
    """A file of HAProxy that the lab's clusters get their routes in; nothing runs."""
    made = HaproxyLab(tmp_path)
    lab.configure(kinds={"Cluster": {"haproxy": {**made.settings, "reload": {"command": ["true"]}}}})
    return made


def five(lab: BranchLab, routes: HaproxyLab, name: str) -> dict[str, bool]:
    """What a cluster has outside of itself, and whether it is there now."""
    kubeconfig = lab.kubeconfigs / f"{name}.yaml"
    with KubeTransport(lab.kubeconfigs / "devops.yaml") as management:
        secret = management.get(f"/api/v1/namespaces/argocd/secrets/cluster-{name}")
    return {
        "context": kubeconfig.exists() and json.loads(kubeconfig.read_text())["current-context"] != "",
        "row": lab.row(name) is not None,
        "branch": name in lab.heads(),
        "secret": secret is not None,
        "route": f"backend be_{name}\n" in routes.text,
    }


@needs_haproxy
def test_case_10_all_five_are_there_and_all_five_are_gone(lab: BranchLab, routes: HaproxyLab) -> None:
    """And the management cluster is as it was, on its own ports."""
    ports = {"httpPort": 23800, "httpsPort": 23843}
    lab.write("devops.yaml", cluster("devops", role="management", manifests=[NAMESPACE], ports=ports))
    lab.apply()
    before = lab.row("devops")
    assert before is not None
    lab.write("dev.yaml", cluster("dev", git=lab.git(), argocd={}, **ROUTE))
    lab.apply()
    assert five(lab, routes, "dev") == dict.fromkeys(("context", "row", "branch", "secret", "route"), True)
    address = str((lab.row("dev") or {})["server_ip"])
    assert re.fullmatch(r"\d+(\.\d+){3}", address)
    assert f"server s1 {address}:18099 check\n" in routes.text
    lab.write("dev.yaml", cluster("dev", {"state": "absent"}, git=lab.git(), argocd={}, **ROUTE))
    lab.apply()
    assert five(lab, routes, "dev") == dict.fromkeys(("context", "row", "branch", "secret", "route"), False)
    after = lab.row("devops")
    assert after is not None
    assert [after[name] for name in ("provider", "http_port", "https_port")] == ["sandbox", 23800, 23843]
    changing = {"updated_at", "last_reconciled_at"}
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }


@needs_haproxy
def test_one_that_fails_keeps_no_other_from_being_made_or_removed(lab: BranchLab, routes: HaproxyLab) -> None:
    """The predecessor made no branch where writing its record had failed, and nobody noticed what else was missing."""
    plain = routes.text
    hook = lab.hook("pre-receive", "exit 1")
    lab.write("dev.yaml", cluster("dev", git=lab.git(), **ROUTE))
    lab.apply(code=1)
    steps = dict(lab.steps("Cluster/dev"))
    assert (steps["git"], steps["ensure-route"]) == ("failed", "done")
    assert "record" not in steps
    assert lab.state("dev") == "failed"
    assert "host_dev " in routes.text
    errors = {row["field"]: row["error"] for row in lab.rows("SELECT field, error FROM cluster_attachments")}
    assert errors["route"] is None
    assert "does not take refs/heads/dev" in errors["git"]

    hook.unlink()
    lab.apply()
    assert (lab.state("dev"), set(lab.heads()), lab.plan()) == ("running", {"dev"}, {})
    assert {row["error"] for row in lab.rows("SELECT error FROM cluster_attachments")} == {None}

    hook = lab.hook("pre-receive", "exit 1")
    lab.write("dev.yaml", cluster("dev", {"state": "absent"}, git=lab.git(), **ROUTE))
    lab.apply(code=1)
    assert routes.text == plain
    assert (set(lab.heads()), set(lab.attached()), set(lab.attached("route"))) == ({"dev"}, {"dev"}, set())
    assert "dev" in lab.made(), "as long as anything is left of it"
    hook.unlink()
    lab.apply()
    assert (lab.heads(), lab.attached(), lab.made(), lab.row("dev")) == ({}, {}, {}, None)


@needs_haproxy
def test_only_what_differs_is_done_again(lab: BranchLab, routes: HaproxyLab) -> None:
    lab.write("dev.yaml", cluster("dev", git=lab.git(), **ROUTE))
    lab.apply()
    lab.repository.git("update-ref", "-d", "refs/heads/dev")
    assert [step["name"] for step in lab.plan()["Cluster/dev"]["steps"]] == ["git", "record", "verify"]
    routes.file.write_text(routes.text.replace("127.0.0.1:18099", "127.0.0.1:1"))
    done = [step["name"] for step in lab.plan()["Cluster/dev"]["steps"]]
    assert done == ["git", "ensure-route", "record", "verify"]
    lab.apply()
    assert (lab.plan(), set(lab.heads())) == ({}, {"dev"})

    # a cluster that stands still keeps its route, and its branch is kept up to date all the same
    lab.write("dev.yaml", cluster("dev", git=lab.git(), running=False, **ROUTE))
    lab.apply()
    lab.repository.git("update-ref", "-d", "refs/heads/dev")
    assert [step["name"] for step in lab.plan()["Cluster/dev"]["steps"]] == ["git", "record"]
    lab.apply()
    assert (lab.state("dev"), set(lab.heads()), lab.plan()) == ("stopped", {"dev"}, {})
    lab.write("dev.yaml", cluster("dev", running=False, ports=ROUTE["ports"]))
    lab.apply()
    assert (lab.heads(), lab.attached(), lab.attached("route"), lab.state("dev")) == ({}, {}, {}, "stopped")
    assert "host_dev " not in routes.text
    assert lab.plan() == {}
