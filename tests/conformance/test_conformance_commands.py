"""More of kubectl's own commands: wait, prune, apply sets, create, can-i, finalizers."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from conformance_tools import Kubectl, config_map


def labelled(name: str, **values: str) -> dict[str, Any]:
    body = config_map(name, **values)
    body["metadata"]["labels"] = {"set": "a"}
    return body


def listed(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def names(kubectl: Kubectl) -> set[str]:
    return set(kubectl.ok("get", "configmap", "-l", "set=a", "-o", "name").split())


def test_apply_prunes_what_is_in_the_set_no_more(kubectl: Kubectl) -> None:
    both, prune = listed(labelled("one"), labelled("two")), ("--prune", "-l", "set=a")
    kubectl.ok("apply", "-f", "-", *prune, stdin=both)
    kubectl.ok("create", "-f", "-", stdin=labelled("by-hand"))
    shown = kubectl.ok("apply", "-f", "-", *prune, stdin=labelled("one"))
    assert "configmap/two pruned" in shown
    assert names(kubectl) == {"configmap/one", "configmap/by-hand"}


def test_apply_prunes_the_types_that_it_is_told(kubectl: Kubectl) -> None:
    prune = ("--prune", "-l", "set=a", "--prune-allowlist=core/v1/ConfigMap", "--prune-allowlist=batch/v1/Job")
    kubectl.ok("apply", "-f", "-", *prune, stdin=listed(labelled("one"), labelled("two")))
    kubectl.ok("apply", "-f", "-", *prune, stdin=labelled("two"))
    assert names(kubectl) == {"configmap/two"}


def test_an_apply_set_prunes_by_its_parent(kubectl: Kubectl) -> None:
    command = ("apply", "--prune", "--applyset=secrets/mine", "-f", "-")
    kubectl.ok(*command, stdin=listed(labelled("one"), labelled("two")), KUBECTL_APPLYSET="true")
    shown = kubectl.ok(*command, stdin=labelled("one"), KUBECTL_APPLYSET="true")
    assert "configmap/two pruned" in shown
    assert names(kubectl) == {"configmap/one"}
    parent = kubectl.json("secret", "mine")["metadata"]
    assert parent["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"


def test_wait_for_a_condition_a_value_and_an_end(kubectl: Kubectl, widgets: str) -> None:
    kubectl.ok("create", "-f", "-", stdin=config_map("one", a="1"))
    assert "timed out" in kubectl.fails("wait", "configmap/one", "--for=jsonpath={.data.a}=2", "--timeout=1s")
    patch = threading.Timer(0.5, kubectl.ok, ("patch", "configmap", "one", "-p", '{"data":{"a":"2"}}'))
    patch.start()
    kubectl.ok("wait", "configmap/one", "--for=jsonpath={.data.a}=2", "--timeout=60s")
    patch.join()
    kubectl.ok("wait", "configmap/one", "--for=jsonpath={.data.a}", "--timeout=60s")
    delete = threading.Timer(0.5, kubectl.ok, ("delete", "configmap", "one"))
    delete.start()
    kubectl.ok("wait", "configmap/one", "--for=delete", "--timeout=60s")
    delete.join()
    assert "NotFound" in kubectl.fails("get", "configmap", "one")
    kubectl.ok("wait", f"crd/{widgets}.conformance.example.com", "--for=condition=NamesAccepted", "--timeout=60s")


@pytest.mark.parametrize(
    ("kind", "arguments", "path", "expected"),
    [
        ("job", ("--image=registry.example.com/a:1", "--", "true"), "spec.backoffLimit", 6),
        ("cronjob", ("--image=registry.example.com/a:1", "--schedule=1 2 3 4 5"), "spec.concurrencyPolicy", "Allow"),
        ("role", ("--verb=get,list", "--resource=pods"), "rules.0.verbs", ["get", "list"]),
        ("rolebinding", ("--role=made", "--user=somebody"), "roleRef.name", "made"),
        ("ingress", ("--rule=a.example.com/x*=web:80",), "spec.rules.0.host", "a.example.com"),
        ("poddisruptionbudget", ("--selector=a=b", "--min-available=50%"), "spec.minAvailable", "50%"),
        ("quota", ("--hard=pods=3",), "spec.hard.pods", "3"),
    ],
)
def test_more_create_subcommands(
    kubectl: Kubectl, kind: str, arguments: tuple[str, ...], path: str, expected: Any
) -> None:
    dry = list(arguments)
    dry.insert(dry.index("--") if "--" in dry else len(dry), "--dry-run=server")
    kubectl.ok("create", kind, "made", *dry)
    assert "NotFound" in kubectl.fails("get", kind, "made")
    kubectl.ok("create", kind, "made", *arguments)
    found: Any = kubectl.json(kind, "made")
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    assert found == expected
    assert kubectl.ok("get", kind).split()[0] == "NAME"
    kubectl.ok("describe", kind, "made")
    kubectl.ok("delete", kind, "made")


def test_a_binding_keeps_its_role(kubectl: Kubectl) -> None:
    kubectl.ok("create", "rolebinding", "bound", "--role=one", "--user=somebody")
    patch = '{"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"two"}}'
    assert "cannot change roleRef" in kubectl.fails("patch", "rolebinding", "bound", "--type=merge", "-p", patch)


def test_impossible_workloads_are_refused(kubectl: Kubectl) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": {"template": template}}
    assert "restartPolicy" in kubectl.fails("create", "-f", "-", stdin=job)
    cron = {"schedule": "sometimes", "jobTemplate": {"spec": {"template": template}}}
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": cron}
    assert "spec.schedule" in kubectl.fails("create", "-f", "-", stdin=body)


def test_who_am_i_and_what_may_i_do(kubectl: Kubectl) -> None:
    assert kubectl.ok("auth", "can-i", "create", "deployments.apps").strip() == "yes"
    assert kubectl.ok("auth", "can-i", "--list").splitlines()[0].startswith("Resources")
    found = json.loads(kubectl.ok("auth", "whoami", "-o", "json"))
    assert found["status"]["userInfo"]["username"]


def test_nothing_comes_back_while_a_finalizer_holds_it(kubectl: Kubectl) -> None:
    wanted = config_map(a="1")
    wanted["metadata"]["finalizers"] = ["conformance.example.com/hold"]
    kubectl.ok("create", "-f", "-", stdin=wanted)
    assert "timed out" in kubectl.fails("delete", "configmap", "one", "--timeout=1s")
    before = kubectl.json("configmap", "one")["metadata"]
    kubectl.ok("patch", "configmap", "one", "--type=merge", "-p", '{"data":{"a":"2"}}')
    revive = '{"metadata":{"deletionTimestamp":null}}'
    kubectl.run("patch", "configmap", "one", "--type=merge", "-p", revive)
    assert kubectl.json("configmap", "one")["metadata"]["deletionTimestamp"] == before["deletionTimestamp"]
    add = '{"metadata":{"finalizers":["conformance.example.com/hold","conformance.example.com/more"]}}'
    assert "Forbidden" in kubectl.fails("patch", "configmap", "one", "--type=merge", "-p", add)
    complaint = kubectl.fails("create", "-f", "-", stdin=config_map(a="3"))
    assert "object is being deleted" in complaint
    assert "already exists" in complaint
    kubectl.ok("patch", "configmap", "one", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    kubectl.ok("wait", "configmap/one", "--for=delete", "--timeout=30s")


def test_defaults_are_the_same_whoever_writes(kubectl: Kubectl) -> None:
    container = {"name": "c", "image": "registry.example.com/a", "livenessProbe": {"httpGet": {"port": 80}}}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "serviceName": "a", "selector": {"matchLabels": {"app": "a"}}, "template": template}
    kinds = {"StatefulSet": spec, "Deployment": {key: one for key, one in spec.items() if key != "serviceName"}}
    for kind, wanted in kinds.items():
        body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"}, "spec": wanted}
        kubectl.ok("apply", "--server-side", "-f", "-", stdin=body)
        found = kubectl.json(kind.lower(), "a")["spec"]
        made = found["template"]["spec"]
        assert (made["restartPolicy"], made["dnsPolicy"], made["terminationGracePeriodSeconds"]) == (
            "Always",
            "ClusterFirst",
            30,
        )
        assert made["containers"][0]["imagePullPolicy"] == "Always"
        assert made["containers"][0]["livenessProbe"]["httpGet"] == {"path": "/", "port": 80, "scheme": "HTTP"}
        assert made["containers"][0]["livenessProbe"]["periodSeconds"] == 10
        assert found["revisionHistoryLimit"] == 10
        assert kubectl.run("diff", "-f", "-", stdin=body).returncode == 0
    assert found["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    found = kubectl.json("statefulset", "a")["spec"]
    assert found["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert found["podManagementPolicy"] == "OrderedReady"
