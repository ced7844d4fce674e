"""The health of live objects: the conventions of kstatus, Flux's own ways, and the built-in types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.kstatus import Health, HealthState, health_of

FLUX = "kustomize.toolkit.fluxcd.io/v1"
BUILT_IN = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "Ingress": "networking.k8s.io/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def condition(name: str, status: str = "True", reason: str = "", **more: Any) -> dict[str, Any]:
    """A condition with its message made of its reason, so that a test sees which one was told."""
    return {"type": name, "status": status, "reason": reason, "message": f"{reason} told", **more}


def kustomization(
    *conditions: Mapping[str, Any], generation: int = 2, observed: int = 2, **more: Any
) -> dict[str, Any]:
    """A Kustomization whose controller has looked at `observed`."""
    metadata = {"name": "app", "generation": generation, **more}
    status = {"observedGeneration": observed, "conditions": list(conditions)}
    return {"apiVersion": FLUX, "kind": "Kustomization", "metadata": metadata, "status": status}


def built_in(kind: str, status: Any = None, spec: Any = None) -> dict[str, Any]:
    """An object of a built-in type."""
    api_version = BUILT_IN.get(kind, "v1")
    found = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "app", "generation": 1}, "spec": spec or {}}
    return found if status is None else {**found, "status": status}


READY, NOT_READY = condition("Ready", "True", "Succeeded"), condition("Ready", "False", "BuildFailed")
RECONCILING, STALLED = condition("Reconciling", "True", "Progressing"), condition("Stalled", "True", "InvalidPath")
UNKNOWN = condition("Ready", "Unknown", "Progressing")

CONVENTIONS: dict[str, tuple[dict[str, Any], HealthState, str]] = {
    "ready": (kustomization(READY), "current", "Succeeded"),
    "not ready, nobody works on it": (kustomization(NOT_READY), "failed", "BuildFailed"),
    "not ready, worked on": (kustomization(NOT_READY, RECONCILING), "progressing", "Progressing"),
    "not ready, no longer worked on": (
        kustomization(NOT_READY, condition("Reconciling", "False", "Done")),
        *("failed", "BuildFailed"),
    ),
    "stalled wins over all": (kustomization(READY, RECONCILING, STALLED), "failed", "InvalidPath"),
    "stalled no more": (kustomization(READY, condition("Stalled", "False", "Fixed")), "current", "Succeeded"),
    "not known yet": (kustomization(UNKNOWN), "progressing", "Progressing"),
    "no conditions": (kustomization(), "progressing", "NoStatus"),
    "ready, but for an older generation": (kustomization(READY, observed=1), "progressing", "NotObserved"),
    "failed, but for an older generation": (kustomization(NOT_READY, observed=1), "progressing", "NotObserved"),
    "stalled, but for an older generation": (kustomization(STALLED, observed=-1), "progressing", "NotObserved"),
    "a condition of an older generation": (
        kustomization(condition("Ready", "True", "Succeeded", observedGeneration=1), RECONCILING),
        *("progressing", "Progressing"),
    ),
    "deleted, whatever it says": (
        kustomization(READY, observed=1, deletionTimestamp="2026-01-01T00:00:00Z"),
        *("terminating", "Terminating"),
    ),
    "failed and tried again, as Flux says it": (
        kustomization(
            condition("Ready", "False", "BuildFailed", observedGeneration=2),
            condition("Reconciling", "True", "ProgressingWithRetry", observedGeneration=2),
            observed=-1,
        ),
        *("failed", "BuildFailed"),
    ),
    "its dependency is not ready yet, as Flux says it of a new one": (
        kustomization(
            condition("Ready", "False", "DependencyNotReady", observedGeneration=2),
            condition("Reconciling", "True", "ProgressingWithRetry", observedGeneration=2),
            observed=-1,
        ),
        *("progressing", "DependencyNotReady"),
    ),
    "its dependency is not ready again": (
        kustomization(condition("Ready", "False", "DependencyNotReady"), RECONCILING),
        *("progressing", "DependencyNotReady"),
    ),
    "its dependency was not ready for an older generation": (
        kustomization(
            condition("Ready", "False", "DependencyNotReady", observedGeneration=1),
            condition("Reconciling", "True", "ProgressingWithRetry", observedGeneration=1),
            observed=1,
        ),
        *("progressing", "NotObserved"),
    ),
    "its dependency is not ready, and it is stalled": (
        kustomization(condition("Ready", "False", "DependencyNotReady"), RECONCILING, STALLED),
        *("failed", "InvalidPath"),
    ),
    "an older generation failed and is tried again": (
        kustomization(
            condition("Ready", "False", "BuildFailed", observedGeneration=1),
            condition("Reconciling", "True", "ProgressingWithRetry", observedGeneration=1),
            observed=1,
        ),
        *("progressing", "NotObserved"),
    ),
}


@pytest.mark.parametrize(("live", "state", "reason"), CONVENTIONS.values(), ids=CONVENTIONS)
def test_conditions_say_how_an_object_is(live: dict[str, Any], state: HealthState, reason: str) -> None:
    found = health_of(live)
    assert (found.state, found.reason) == (state, reason)
    assert found.message


def test_what_waits_for_its_dependency_says_so_in_the_words_of_flux() -> None:
    """Not in those of `Reconciling`, which still tell of the attempt before."""
    live, _, _ = CONVENTIONS["its dependency is not ready yet, as Flux says it of a new one"]
    assert health_of(live) == Health("progressing", "DependencyNotReady", "DependencyNotReady told")


@pytest.mark.parametrize(
    "reason",
    [
        *("GitOperationFailed", "BuildFailed", "ReconciliationFailed", "ArtifactFailed", "HealthCheckFailed"),
        *("DependencyNotReady", "PruneFailed"),
    ],
)
def test_every_reason_of_flux_is_a_failure_in_its_own_words(reason: str) -> None:
    """Defect J11: only `Failed` and `Error` were known, so that these stayed "reconciling" for ever."""
    assert health_of(kustomization(condition("Ready", "False", reason))) == Health("failed", reason, f"{reason} told")


def replicas(wanted: int, updated: int, ready: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    """A Deployment, of whose replicas so many are updated and ready."""
    counts = {"updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}
    status = {"observedGeneration": 1, "replicas": wanted if total is None else total, **counts, **more}
    return built_in("Deployment", status, {"replicas": wanted})


def waiting(reason: str) -> dict[str, Any]:
    """A Pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": "back-off 5m0s"}}
    status = {"phase": "Running", "containerStatuses": [{"name": "web", "state": state}]}
    return built_in("Pod", status)


LATE = condition("Progressing", "False", "ProgressDeadlineExceeded")
TYPES: dict[str, tuple[dict[str, Any], HealthState]] = {
    "Deployment without a status": (built_in("Deployment", None, {"replicas": 0}), "progressing"),
    "Deployment complete": (replicas(2, 2, 2), "current"),
    "Deployment of none": (replicas(0, 0, 0), "current"),
    "Deployment being updated": (replicas(2, 1, 2), "progressing"),
    "Deployment not ready": (replicas(2, 2, 1), "progressing"),
    "Deployment with old replicas": (replicas(2, 2, 2, total=3), "progressing"),
    "Deployment not available": (replicas(1, 1, 1, conditions=[condition("Available", "False", "Min")]), "progressing"),
    "Deployment too late": (replicas(2, 1, 1, conditions=[LATE]), "failed"),
    "StatefulSet complete": (
        built_in("StatefulSet", {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}),
        "current",
    ),
    "StatefulSet being updated": (
        built_in(
            "StatefulSet",
            {"observedGeneration": 1, "readyReplicas": 1, "currentRevision": "a", "updateRevision": "b"},
        ),
        "progressing",
    ),
    "DaemonSet complete": (
        built_in(
            "DaemonSet",
            {
                "observedGeneration": 1,
                **dict.fromkeys(
                    ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"), 2
                ),
            },
        ),
        "current",
    ),
    "DaemonSet not ready": (
        built_in("DaemonSet", {"observedGeneration": 1, "desiredNumberScheduled": 1}),
        "progressing",
    ),
    "ReplicaSet not ready": (built_in("ReplicaSet", {"observedGeneration": 1, "replicas": 1}), "progressing"),
    "Job running": (built_in("Job", {"active": 1}), "progressing"),
    "Job complete": (built_in("Job", {"conditions": [condition("Complete")]}), "current"),
    "Job failed": (built_in("Job", {"conditions": [condition("Failed", reason="BackoffLimitExceeded")]}), "failed"),
    "Service": (built_in("Service", {"loadBalancer": {}}, {"type": "ClusterIP"}), "current"),
    "Service without an address": (built_in("Service", {}, {"type": "LoadBalancer"}), "progressing"),
    "Pod ready": (built_in("Pod", {"phase": "Running", "conditions": [condition("Ready")]}), "current"),
    "Pod ended": (built_in("Pod", {"phase": "Succeeded"}), "current"),
    "Pod failed": (built_in("Pod", {"phase": "Failed", "reason": "Evicted"}), "failed"),
    "Pod crashing": (waiting("CrashLoopBackOff"), "failed"),
    "Pod without its image": (waiting("ImagePullBackOff"), "progressing"),
    "Pod starting": (built_in("Pod", {"phase": "Pending"}), "progressing"),
    "Claim bound": (built_in("PersistentVolumeClaim", {"phase": "Bound"}), "current"),
    "Claim waiting": (built_in("PersistentVolumeClaim", {"phase": "Pending"}), "progressing"),
    "Claim lost": (built_in("PersistentVolumeClaim", {"phase": "Lost"}), "failed"),
    "Definition established": (
        built_in("CustomResourceDefinition", {"conditions": [condition("Established")]}),
        "current",
    ),
    "Definition new": (built_in("CustomResourceDefinition"), "progressing"),
    "Definition refused": (
        built_in("CustomResourceDefinition", {"conditions": [condition("NamesAccepted", "False", "ListKindConflict")]}),
        "failed",
    ),
    "ConfigMap": (built_in("ConfigMap"), "current"),
    "Ingress": (built_in("Ingress", {"loadBalancer": {}}), "current"),
    "Autoscaler": (
        built_in("HorizontalPodAutoscaler", {"conditions": [condition("ScalingActive", "False", "NoMetrics")]}),
        "current",
    ),
}


@pytest.mark.parametrize(("live", "state"), TYPES.values(), ids=TYPES)
def test_types_without_ready_have_rules_of_their_own(live: dict[str, Any], state: HealthState) -> None:
    assert health_of(live).state == state


def test_what_a_workload_waits_for_is_told() -> None:
    assert health_of(replicas(3, 3, 1)).message == "1 of 3 replicas are ready"
    assert health_of(waiting("CrashLoopBackOff")) == Health(
        "failed", "CrashLoopBackOff", "container web: back-off 5m0s"
    )
    assert health_of(replicas(2, 1, 1, conditions=[LATE])).reason == "ProgressDeadlineExceeded"


@given(JSON)
def test_no_json_is_too_odd(value: Any) -> None:
    assert isinstance(health_of(value), Health)


@given(st.data(), st.sampled_from(["Kustomization", "Pod", "Service", "PersistentVolumeClaim", *BUILT_IN]))
def test_no_part_of_an_object_is_too_odd(data: st.DataObject, kind: str) -> None:
    """With the right names in the right places, but anything under them."""
    api_version = FLUX if kind == "Kustomization" else BUILT_IN.get(kind, "v1")
    one = {name: data.draw(JSON) for name in ("type", "status", "reason", "message", "observedGeneration")}
    known = {**one, "type": data.draw(st.sampled_from(["Ready", "Stalled", "Reconciling", "Progressing"]))}
    names = ("observedGeneration", "replicas", "readyReplicas", "phase", "containerStatuses", "desiredNumberScheduled")
    status = {**{name: data.draw(JSON) for name in names}, "conditions": data.draw(st.just([one, known]) | JSON)}
    metadata = {"generation": data.draw(JSON), "deletionTimestamp": data.draw(st.none() | JSON)}
    live = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": data.draw(JSON), "status": status}
    found = health_of(live)
    assert isinstance(found.message, str)
    assert isinstance(found.reason, str)
    assert found.reason
