"""What controllers do, through kubectl: rollouts, ordered Pods, Jobs, garbage. Skipped where no Pod runs."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from conformance_tools import ENDS, RUNS, RUNS_TOO, Kubectl, config_map, job, workload

WITHIN = "--timeout=120s"


def pods(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    """The Pods of a workload that are not going."""
    found: list[dict[str, Any]] = kubectl.json("pods", "-l", f"app={name}")["items"]
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def images(kubectl: Kubectl, name: str) -> set[str]:
    return {one["spec"]["containers"][0]["image"] for one in pods(kubectl, name)}


def revisions(kubectl: Kubectl, target: str) -> list[int]:
    lines = kubectl.ok("rollout", "history", target).splitlines()
    return [int(line.split()[0]) for line in lines if line[:1].isdigit()]


def test_a_rollout_is_followed_recorded_undone_and_restarted(workloads: Kubectl) -> None:
    kubectl, target = workloads, "deployment/web"
    kubectl.ok("apply", "-f", "-", stdin=workload("Deployment", "web", replicas=3))
    assert "successfully rolled out" in kubectl.ok("rollout", "status", target, WITHIN)
    kubectl.ok("annotate", target, "kubernetes.io/change-cause=first")
    kubectl.ok("set", "image", target, f"main={RUNS_TOO}")
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "web") == {RUNS_TOO}
    assert revisions(kubectl, target) == [1, 2]
    assert "first" in kubectl.ok("rollout", "history", target)
    assert RUNS in kubectl.ok("rollout", "history", target, "--revision=1")
    kubectl.ok("rollout", "undo", target)
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "web") == {RUNS}
    assert revisions(kubectl, target) == [2, 3]
    kubectl.ok("rollout", "undo", target, "--to-revision=2")
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "web") == {RUNS_TOO}
    before = {one["metadata"]["name"] for one in pods(kubectl, "web")}
    kubectl.ok("rollout", "restart", target)
    kubectl.ok("rollout", "status", target, WITHIN)
    assert len(pods(kubectl, "web")) == 3
    assert not before & {one["metadata"]["name"] for one in pods(kubectl, "web")}
    found = kubectl.json(target)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "5"
    counts = {name: found["status"].get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    assert counts == dict.fromkeys(counts, 3)
    sets = kubectl.json("replicaset", "-l", "app=web")["items"]
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 0, 3]


def test_a_paused_deployment_rolls_out_when_it_is_resumed(workloads: Kubectl) -> None:
    kubectl, target = workloads, "deployment/web"
    kubectl.ok("apply", "-f", "-", stdin=workload("Deployment", "web", replicas=2))
    kubectl.ok("rollout", "status", target, WITHIN)
    kubectl.ok("rollout", "pause", target)
    kubectl.ok("set", "image", target, f"main={RUNS_TOO}")
    kubectl.ok("wait", target, "--for=condition=Progressing=Unknown", WITHIN)
    assert images(kubectl, "web") == {RUNS}
    kubectl.ok("rollout", "resume", target)
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "web") == {RUNS_TOO}


@pytest.mark.parametrize("strategy", [{"type": "Recreate"}, {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}])
def test_strategies_end_where_the_default_ends(workloads: Kubectl, strategy: dict[str, Any]) -> None:
    kubectl, target = workloads, "deployment/web"
    kubectl.ok("apply", "-f", "-", stdin=workload("Deployment", "web", replicas=3, strategy=strategy))
    kubectl.ok("rollout", "status", target, WITHIN)
    kubectl.ok("set", "image", target, f"main={RUNS_TOO}")
    kubectl.ok("rollout", "status", target, WITHIN)
    assert (images(kubectl, "web"), len(pods(kubectl, "web"))) == ({RUNS_TOO}, 3)


def test_the_revision_history_is_limited(workloads: Kubectl) -> None:
    kubectl, target = workloads, "deployment/web"
    kubectl.ok("apply", "-f", "-", stdin=workload("Deployment", "web", replicas=1, revisionHistoryLimit=1))
    for image in (RUNS_TOO, RUNS, RUNS_TOO):
        kubectl.ok("rollout", "status", target, WITHIN)
        kubectl.ok("set", "image", target, f"main={image}")
        kubectl.ok("set", "env", target, f"IMAGE={image}", f"N={image[-1]}{len(revisions(kubectl, target))}")
    kubectl.ok("rollout", "status", target, WITHIN)
    kubectl.ok("wait", target, "--for=condition=Progressing", WITHIN)
    settled(lambda: len(kubectl.json("replicaset", "-l", "app=web")["items"]) == 2)


def settled(look: Any) -> None:
    """Return once `look()` is true, within a minute."""
    import time

    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_stateful_set_keeps_names_and_order(workloads: Kubectl) -> None:
    kubectl, target = workloads, "statefulset/db"
    kubectl.ok("apply", "-f", "-", stdin=workload("StatefulSet", "db", replicas=3, serviceName="db"))
    kubectl.ok("rollout", "status", target, WITHIN)
    found = sorted(pods(kubectl, "db"), key=lambda one: int(one["metadata"]["resourceVersion"]))
    assert sorted(one["metadata"]["name"] for one in found) == ["db-0", "db-1", "db-2"]
    starts = [one["status"]["startTime"] for one in sorted(found, key=lambda one: one["metadata"]["name"])]
    assert starts == sorted(starts)
    assert kubectl.json("pod", "db-1")["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    uid = kubectl.json("pod", "db-1")["metadata"]["uid"]
    kubectl.ok("delete", "pod", "db-1")
    kubectl.ok("rollout", "status", target, WITHIN)
    settled(lambda: kubectl.run("get", "pod", "db-1", "-o", "jsonpath={.metadata.uid}").stdout not in ("", uid))
    kubectl.ok("scale", target, "--replicas=1")
    kubectl.ok("wait", "pod/db-1", "pod/db-2", "--for=delete", WITHIN)
    assert [one["metadata"]["name"] for one in pods(kubectl, "db")] == ["db-0"]


def test_a_stateful_set_is_updated_and_undone(workloads: Kubectl) -> None:
    kubectl, target = workloads, "statefulset/db"
    kubectl.ok("apply", "-f", "-", stdin=workload("StatefulSet", "db", replicas=2, serviceName="db"))
    kubectl.ok("rollout", "status", target, WITHIN)
    kubectl.ok("set", "image", target, f"main={RUNS_TOO}")
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "db") == {RUNS_TOO}
    assert revisions(kubectl, target) == [1, 2]
    kubectl.ok("rollout", "undo", target)
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "db") == {RUNS}
    status = kubectl.json(target)["status"]
    settled(lambda: len({kubectl.json(target)["status"][f"{name}Revision"] for name in ("current", "update")}) == 1)
    assert status["updatedReplicas"] == 2
    complaint = kubectl.fails("patch", target, "--type=merge", "-p", '{"spec":{"serviceName":"other"}}')
    assert "Forbidden" in complaint


def test_a_partition_keeps_the_lower_ordinals_as_they_were(workloads: Kubectl) -> None:
    kubectl, target = workloads, "statefulset/db"
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    wanted = workload("StatefulSet", "db", replicas=2, serviceName="db", updateStrategy=strategy)
    kubectl.ok("apply", "-f", "-", stdin=wanted)
    kubectl.ok("rollout", "status", target, WITHIN)
    kubectl.ok("set", "image", target, f"main={RUNS_TOO}")
    kubectl.ok("rollout", "status", target, WITHIN)
    shown = {one["metadata"]["name"]: one["spec"]["containers"][0]["image"] for one in pods(kubectl, "db")}
    assert shown == {"db-0": RUNS, "db-1": RUNS_TOO}


def test_every_stateful_pod_gets_its_own_claims(workloads: Kubectl) -> None:
    kubectl = workloads
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    parallel = {"podManagementPolicy": "Parallel", "volumeClaimTemplates": [claim]}
    wanted = workload("StatefulSet", "db", replicas=2, serviceName="db", **parallel)
    kubectl.ok("apply", "-f", "-", stdin=wanted)
    settled(lambda: len(kubectl.json("pvc")["items"]) == 2)
    assert {one["metadata"]["name"] for one in kubectl.json("pvc")["items"]} == {"data-db-0", "data-db-1"}
    settled(lambda: len(pods(kubectl, "db")) == 2)
    volumes = kubectl.json("pod", "db-1")["spec"]["volumes"]
    assert {"claimName": "data-db-1"} in [one.get("persistentVolumeClaim") for one in volumes]
    kubectl.ok("delete", "statefulset", "db")
    assert len(kubectl.json("pvc")["items"]) == 2


def test_a_daemon_set_has_a_pod_on_every_node_that_takes_any(workloads: Kubectl) -> None:
    kubectl, target = workloads, "daemonset/agent"
    kubectl.ok("apply", "-f", "-", stdin=workload("DaemonSet", "agent"))
    assert "successfully rolled out" in kubectl.ok("rollout", "status", target, WITHIN)
    found = pods(kubectl, "agent")
    nodes = [one["spec"]["nodeName"] for one in found]
    assert len(nodes) == len(set(nodes)) == kubectl.json(target)["status"]["desiredNumberScheduled"] > 0
    kubectl.ok("set", "image", target, f"main={RUNS_TOO}")
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "agent") == {RUNS_TOO}
    kubectl.ok("rollout", "undo", target)
    kubectl.ok("rollout", "status", target, WITHIN)
    assert images(kubectl, "agent") == {RUNS}


def test_a_job_ends_when_enough_pods_have_succeeded(workloads: Kubectl) -> None:
    kubectl = workloads
    kubectl.ok("create", "-f", "-", stdin=job("sum", "true", completions=5, parallelism=2))
    kubectl.ok("wait", "job/sum", "--for=condition=complete", WITHIN)
    found = kubectl.json("job", "sum")
    assert (found["status"]["succeeded"], found["status"].get("active", 0)) == (5, 0)
    assert found["status"]["completionTime"]
    assert [one["status"]["phase"] for one in pods(kubectl, "sum")] == ["Succeeded"] * 5
    assert kubectl.ok("get", "job", "sum").splitlines()[1].split()[1:3] == ["Complete", "5/5"]
    complaint = kubectl.fails("patch", "job", "sum", "--type=merge", "-p", '{"spec":{"completions":6}}')
    assert "field is immutable" in complaint
    kubectl.ok("delete", "job", "sum")
    settled(lambda: not pods(kubectl, "sum"))


def test_an_indexed_job_has_one_success_for_every_index(workloads: Kubectl) -> None:
    kubectl = workloads
    kubectl.ok("create", "-f", "-", stdin=job("each", "true", completions=4, completionMode="Indexed"))
    kubectl.ok("wait", "job/each", "--for=condition=complete", WITHIN)
    assert kubectl.json("job", "each")["status"]["completedIndexes"] == "0-3"
    key = "batch.kubernetes.io/job-completion-index"
    assert sorted(one["metadata"]["annotations"][key] for one in pods(kubectl, "each")) == list("0123")


def test_a_job_that_fails_too_often_is_failed(workloads: Kubectl) -> None:
    kubectl = workloads
    wanted = job("broken", "false", backoffLimit=1)
    annotations = {"sandbox.reconciler.dev/exit-code": "1"}  # a cluster that runs the command needs it not
    wanted["spec"]["template"]["metadata"]["annotations"] = annotations
    kubectl.ok("create", "-f", "-", stdin=wanted)
    kubectl.ok("wait", "job/broken", "--for=condition=failed", WITHIN)
    status = kubectl.json("job", "broken")["status"]
    assert status["failed"] == 2
    (failed,) = [one for one in status["conditions"] if one["type"] == "Failed"]
    assert failed["reason"] == "BackoffLimitExceeded"


def test_a_suspended_job_begins_when_it_is_resumed(workloads: Kubectl) -> None:
    kubectl = workloads
    kubectl.ok("create", "-f", "-", stdin=job("later", "true", suspend=True))
    kubectl.ok("wait", "job/later", "--for=condition=suspended", WITHIN)
    assert not pods(kubectl, "later")
    kubectl.ok("patch", "job", "later", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    kubectl.ok("wait", "job/later", "--for=condition=complete", WITHIN)


def test_a_finished_job_goes_after_its_time(workloads: Kubectl) -> None:
    kubectl = workloads
    kubectl.ok("create", "-f", "-", stdin=job("brief", "true", ttlSecondsAfterFinished=0))
    settled(lambda: kubectl.run("get", "job", "brief").returncode != 0)
    settled(lambda: not pods(kubectl, "brief"))


def test_a_job_is_made_from_a_cron_job(workloads: Kubectl) -> None:
    kubectl = workloads
    kubectl.ok("create", "cronjob", "nightly", f"--image={ENDS}", "--schedule=0 3 * * *", "--", "true")
    assert kubectl.json("cronjob", "nightly")["spec"]["concurrencyPolicy"] == "Allow"
    kubectl.ok("create", "job", "now", "--from=cronjob/nightly")
    kubectl.ok("wait", "job/now", "--for=condition=complete", WITHIN)
    assert kubectl.json("job", "now")["metadata"]["ownerReferences"][0]["name"] == "nightly"


@pytest.mark.parametrize("kind", ["deployment", "replicaset", "statefulset"])
def test_scaling_through_the_subresource(workloads: Kubectl, kind: str) -> None:
    kubectl = workloads
    names = {"deployment": "Deployment", "replicaset": "ReplicaSet", "statefulset": "StatefulSet"}
    extra = {"serviceName": "web"} if kind == "statefulset" else {}
    kubectl.ok("apply", "-f", "-", stdin=workload(names[kind], "web", replicas=1, **extra))
    kubectl.ok("scale", kind, "web", "--current-replicas=1", "--replicas=2")
    kubectl.ok("wait", f"{kind}/web", "--for=jsonpath={.status.readyReplicas}=2", WITHIN)
    scale = json.loads(kubectl.ok("get", kind, "web", "--subresource=scale", "-o", "json"))
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 2, "app=web")
    kubectl.ok("scale", kind, "web", "--replicas=0")
    settled(lambda: not pods(kubectl, "web"))


def test_orphaned_pods_stay_and_are_adopted_again(workloads: Kubectl) -> None:
    kubectl = workloads
    wanted = workload("StatefulSet", "db", replicas=2, serviceName="db")
    kubectl.ok("apply", "-f", "-", stdin=wanted)
    kubectl.ok("rollout", "status", "statefulset/db", WITHIN)
    before = {one["metadata"]["uid"] for one in pods(kubectl, "db")}
    kubectl.ok("delete", "statefulset", "db", "--cascade=orphan")
    assert {one["metadata"]["uid"] for one in pods(kubectl, "db")} == before
    assert not any(one["metadata"].get("ownerReferences") for one in pods(kubectl, "db"))
    kubectl.ok("apply", "-f", "-", stdin=wanted)
    kubectl.ok("rollout", "status", "statefulset/db", WITHIN)
    settled(lambda: all(one["metadata"].get("ownerReferences") for one in pods(kubectl, "db")))
    assert {one["metadata"]["uid"] for one in pods(kubectl, "db")} == before


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_deployment_takes_everything_below_along(workloads: Kubectl, cascade: str) -> None:
    kubectl = workloads
    kubectl.ok("apply", "-f", "-", stdin=workload("Deployment", "web", replicas=2))
    kubectl.ok("rollout", "status", "deployment/web", WITHIN)
    kubectl.ok("delete", "deployment", "web", f"--cascade={cascade}", WITHIN)
    if cascade == "foreground":
        assert not kubectl.json("replicaset", "-l", "app=web")["items"]
    settled(lambda: not kubectl.json("replicaset,pod", "-l", "app=web")["items"])


def test_an_object_of_two_owners_goes_with_the_last(workloads: Kubectl) -> None:
    kubectl = workloads
    owners = []
    for name in ("first", "second"):
        kubectl.ok("create", "-f", "-", stdin=config_map(name))
        uid = kubectl.json("configmap", name)["metadata"]["uid"]
        owners.append({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": True})
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = owners
    kubectl.ok("create", "-f", "-", stdin=owned)
    kubectl.ok("delete", "configmap", "first", "--cascade=foreground", WITHIN)
    settled(lambda: len(kubectl.json("configmap", "owned")["metadata"]["ownerReferences"]) == 1)
    kubectl.ok("delete", "configmap", "second", "--cascade=foreground", WITHIN)
    settled(lambda: kubectl.run("get", "configmap", "owned").returncode != 0)


def test_an_owner_that_never_was_is_no_owner(workloads: Kubectl) -> None:
    kubectl = workloads
    owned = config_map("owned")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}
    owned["metadata"]["ownerReferences"] = [reference]
    kubectl.ok("create", "-f", "-", stdin=owned)
    settled(lambda: kubectl.run("get", "configmap", "owned").returncode != 0)


def test_a_watch_shows_a_rollout_as_it_happens(workloads: Kubectl) -> None:
    kubectl = workloads
    command = [
        "kubectl",
        "-n",
        kubectl.namespace,
        "get",
        "deployment",
        "web",
        "-w",
        "-o",
        "name",
        "--request-timeout=60s",
    ]
    kubectl.ok("apply", "-f", "-", stdin=workload("Deployment", "web", replicas=1))
    environment = {"PATH": os.environ["PATH"], "HOME": str(kubectl.home), "KUBECONFIG": str(kubectl.kubeconfig)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        kubectl.ok("set", "image", "deployment/web", f"main={RUNS_TOO}")
        second = watching.stdout.readline()
        watching.terminate()
    assert first == second == "deployment.apps/web\n"
