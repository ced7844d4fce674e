"""What a live object says of itself: whether it is as its spec wants, still on its way, failed, or on its way out.

After the kstatus conventions (`Ready`, `Reconciling`, `Stalled`, `observedGeneration`), with rules of their own for the
built-in types that have no `Ready`. Pure; kinds call it on what they read from a cluster. The object is as some server
sent it, so nothing in it is trusted to have the shape that it should: what does not have it counts as not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

HealthState = Literal["current", "progressing", "failed", "terminating"]
_BUILT_IN = frozenset(
    {
        *("", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io"),
        *("storage.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "node.k8s.io"),
        *("admissionregistration.k8s.io", "certificates.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io"),
    }
)
_RETRIES, _WAITS = "ProgressingWithRetry", "DependencyNotReady"


class Health(NamedTuple):
    """state: see the module. reason: CamelCase, the object's own where it gives one. message: its own words or ours."""

    state: HealthState
    reason: str
    message: str


class _Seen(NamedTuple):
    """The parts of an object that are asked for. conditions: by type, without those of an older generation."""

    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    conditions: Mapping[str, Mapping[str, Any]]

    def has(self, name: str, value: str = "True") -> bool:
        """Whether the condition is there with this status."""
        return self.conditions.get(name, {}).get("status") == value

    def told(self, state: HealthState, name: str, otherwise: str = "") -> Health:
        """The state with the condition's own reason and message."""
        condition = self.conditions.get(name, {})
        return Health(state, _text(condition.get("reason")) or name, _text(condition.get("message")) or otherwise)


def health_of(obj: Mapping[str, Any]) -> Health:
    """The health of an object with `apiVersion`, `kind`, `metadata` and `status`. Never raises, whatever it holds."""
    whole, metadata = _mapping(obj), _mapping(_mapping(obj).get("metadata"))
    if metadata.get("deletionTimestamp"):
        return Health("terminating", "Terminating", "it is being deleted")
    generation = _number(metadata.get("generation"))
    status = _mapping(whole.get("status"))
    seen = _Seen(_mapping(whole.get("spec")), status, dict(_conditions(status, generation)))
    group = _text(whole.get("apiVersion")).rpartition("/")[0]
    never = 0 if group == "apps" else generation  # whose controllers always say it
    if _number(status.get("observedGeneration"), never) < generation and not _is_retried(seen):
        return Health("progressing", "NotObserved", f"its controller has not looked at generation {generation} yet")
    rule = _RULES.get((group, _text(whole.get("kind"))))
    if rule is not None:
        return rule(seen)
    if group in _BUILT_IN and "Ready" not in seen.conditions:
        return Health("current", "Exists", "it is there, and its type says no more")
    return _by_conditions(seen)


def _by_conditions(seen: _Seen) -> Health:
    """The rule for everything that keeps to the conventions."""
    if seen.has("Stalled"):
        return seen.told("failed", "Stalled")
    if seen.has("Ready"):
        return seen.told("current", "Ready")
    if _waits_for_another(seen):
        return seen.told("progressing", "Ready")
    if seen.has("Ready", "False") and (not seen.has("Reconciling") or _is_retried(seen)):
        return seen.told("failed", "Ready")
    for name in ("Reconciling", "Ready"):
        if name in seen.conditions:
            return seen.told("progressing", name)
    return Health("progressing", "NoStatus", "no status yet")


def _is_retried(seen: _Seen) -> bool:
    """Whether the generation that is wanted was tried without success and is tried again.

    Flux then leaves `Reconciling` true with this reason, and its `observedGeneration` behind: only success raises it.
    """
    is_retried = seen.has("Reconciling") and seen.conditions["Reconciling"].get("reason") == _RETRIES
    is_current = type(seen.conditions.get("Ready", {}).get("observedGeneration")) is int  # older ones are left out
    return is_retried and is_current and seen.has("Ready", "False")


def _waits_for_another(seen: _Seen) -> bool:
    """Whether it is worked on as soon as what it depends on is ready. Flux says that as it says a failure."""
    is_waiting = seen.has("Ready", "False") and seen.conditions["Ready"].get("reason") == _WAITS
    return is_waiting and seen.has("Reconciling")


def _deployment(seen: _Seen) -> Health:
    if seen.conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return seen.told("failed", "Progressing")
    wanted = _number(seen.spec.get("replicas"), 1)
    have = {name: _number(seen.status.get(f"{name}Replicas")) for name in ("updated", "ready", "available")}
    if (late := _behind("replicas", have, wanted)) is not None:
        return late
    surplus = _number(seen.status.get("replicas")) - wanted
    if surplus > 0:
        return Health("progressing", "Replicas", f"{surplus} old replicas still have to end")
    if seen.has("Available", "False"):
        return seen.told("progressing", "Available")
    return Health("current", "Available", f"{wanted} replicas are available")


def _stateful_set(seen: _Seen) -> Health:
    wanted = _number(seen.spec.get("replicas"), 1)
    strategy = _mapping(seen.spec.get("updateStrategy"))
    partition = _number(_mapping(strategy.get("rollingUpdate")).get("partition"))
    have = {"ready": _number(seen.status.get("readyReplicas"))}
    if (late := _behind("replicas", have, wanted)) is not None:
        return late
    if strategy.get("type") != "OnDelete":
        updated = {"updated": _number(seen.status.get("updatedReplicas"))}
        is_whole = seen.status.get("currentRevision") == seen.status.get("updateRevision")
        if not is_whole and (late := _behind("replicas", updated, max(wanted - partition, 0))) is not None:
            return late
    surplus = _number(seen.status.get("replicas")) - wanted
    if surplus > 0:
        return Health("progressing", "Replicas", f"{surplus} replicas too many still have to end")
    return Health("current", "Available", f"{wanted} replicas are ready")


def _daemon_set(seen: _Seen) -> Health:
    wanted = _number(seen.status.get("desiredNumberScheduled"))
    names = {"updated": "updatedNumberScheduled", "available": "numberAvailable", "ready": "numberReady"}
    have = {name: _number(seen.status.get(field)) for name, field in names.items()}
    late = _behind("pods", have, wanted)
    return late if late is not None else Health("current", "Available", f"{wanted} pods are ready")


def _replica_set(seen: _Seen) -> Health:
    wanted = _number(seen.spec.get("replicas"), 1)
    have = {name: _number(seen.status.get(f"{name}Replicas")) for name in ("ready", "available")}
    late = _behind("replicas", have, wanted)
    return late if late is not None else Health("current", "Available", f"{wanted} replicas are available")


def _behind(what: str, have: Mapping[str, int], wanted: int) -> Health | None:
    """The first count that is not reached yet; None when all are."""
    for name, count in have.items():
        if count < wanted:
            return Health("progressing", "Replicas", f"{count} of {wanted} {what} are {name}")
    return None


def _job(seen: _Seen) -> Health:
    if seen.has("Failed"):
        return seen.told("failed", "Failed")
    if seen.has("Complete"):
        return seen.told("current", "Complete")
    if seen.has("Suspended"):
        return seen.told("progressing", "Suspended")
    counts = {name: _number(seen.status.get(name)) for name in ("active", "succeeded", "failed")}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "it has not started"
    return Health("progressing", "Running", said)


def _service(seen: _Seen) -> Health:
    if seen.spec.get("type") == "LoadBalancer" and not seen.spec.get("clusterIP"):
        return Health("progressing", "NoAddress", "it has no address yet")
    return Health("current", "Exists", "it is there")


def _pod(seen: _Seen) -> Health:
    phase, own = _text(seen.status.get("phase")), _text(seen.status.get("message"))
    if phase == "Succeeded":
        return Health("current", "Succeeded", own or "it has ended well")
    if phase == "Failed":
        return Health("failed", _text(seen.status.get("reason")) or "Failed", own or "a container of it has failed")
    if seen.has("Ready"):
        return Health("current", "Running", "it is ready")
    for container, waiting in _waiting(seen.status):
        reason, message = _text(waiting.get("reason")), _text(waiting.get("message"))
        if reason == "CrashLoopBackOff":
            return Health("failed", reason, f"container {container}: {message or reason}")
        if reason.endswith(("BackOff", "Error")) or reason.startswith("Err"):
            return Health("progressing", reason, f"container {container}: {message or reason}")
    if seen.has("PodScheduled", "False"):
        return seen.told("progressing", "PodScheduled")
    if "Ready" in seen.conditions:
        return seen.told("progressing", "Ready")
    return Health("progressing", phase or "NoStatus", own or "it does not run yet")


def _waiting(status: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The containers that wait for something, by name."""
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in _list(status.get(field)):
            waiting = _mapping(_mapping(_mapping(container).get("state")).get("waiting"))
            if waiting:
                yield _text(_mapping(container).get("name")), waiting


def _claim(seen: _Seen) -> Health:
    phase = _text(seen.status.get("phase"))
    if phase == "Bound":
        return Health("current", "Bound", "it has a volume")
    if phase == "Lost":
        return Health("failed", "Lost", "its volume is gone")
    return Health("progressing", phase or "NoStatus", "it has no volume yet")


def _definition(seen: _Seen) -> Health:
    """A CustomResourceDefinition serves its type once it is established."""
    if seen.has("Terminating"):
        return seen.told("terminating", "Terminating")
    if seen.has("NamesAccepted", "False"):
        return seen.told("failed", "NamesAccepted")
    if seen.has("Established"):
        return seen.told("current", "Established")
    return seen.told("progressing", "Established", "it is not served yet")


def _conditions(status: Mapping[str, Any], generation: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The conditions by type; what one says of an older generation says nothing of this one."""
    for one in _list(status.get("conditions")):
        name = _text(_mapping(one).get("type"))
        if name and _number(one.get("observedGeneration"), generation) >= generation:
            yield name, one


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object, otherwise: int = 0) -> int:
    return value if type(value) is int else otherwise


_RULES: Mapping[tuple[str, str], Callable[[_Seen], Health]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("", "Service"): _service,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
