"""Jobs: Pods until enough have succeeded or too many have failed. Called by `controllers`.

A finalizer keeps every Pod until it is counted; counting and letting go are one transaction, so no crash counts a Pod
twice or forgets it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.sandbox import pods
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import DeleteOptions, delete_object
from reconciler.sandbox.objects import now, random_suffix
from reconciler.sandbox.ownership import Value, claim, condition, controller_of, is_going, remove, set_condition, update
from reconciler.sandbox.pods import BATCH, FINISHED, PodWish, is_ready, make_pods, phase
from reconciler.sandbox.resources import JOBS, PODS
from reconciler.sandbox.state import Change, Stored

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(slots=True)
class _Look:
    """A Job with its Pods that still run; value is what will be written."""

    job: Stored
    value: Value
    active: list[Stored]

    @property
    def spec(self) -> Value:
        spec: Value = self.value["spec"]
        return spec

    @property
    def status(self) -> Value:
        status: Value = self.value["status"]
        return status

    def count(self, name: str) -> int:
        return int(self.status.get(name, 0))


def sync_job(cluster: Cluster, job: Stored) -> float | None:
    """Bring a Job one step on; after how many seconds to look again although nothing happened."""
    owned = claim(cluster, job, PODS)
    if is_going(job):
        _let_go(cluster, owned)
        return None
    look = _count(cluster, job, owned)
    if is_finished(look.value):
        _stop(cluster, look)
        left = _expiry(look)
        if left is not None and left <= 0:
            delete_object(cluster, JOBS, look.job, DeleteOptions(propagation="Foreground"))
            return None
        update(cluster, look.job, look.value)
        return left
    if look.spec.get("suspend"):
        _suspend(cluster, look)
        return None
    return _pursue(cluster, look)


def sync_pod(cluster: Cluster, pod: Stored) -> None:
    """Bring a Pod one step on; one whose Job is gone is counted by nobody any more."""
    if is_going(pod) and TRACKING in (pod.value["metadata"].get("finalizers") or ()):
        controller = controller_of(pod.value)
        if controller is None or cluster.state.by_uid(str(controller.get("uid"))) is None:
            _let_go(cluster, [pod])
        return
    pods.sync_pod(cluster, pod)


def is_finished(value: Value) -> bool:
    """Whether a Job is complete or has failed."""
    found = (condition(value.get("status"), kind) for kind in ("Complete", "Failed"))
    return any(one is not None and one.get("status") == "True" for one in found)


# --- counting -------------------------------------------------------------------------------------------------------


def _count(cluster: Cluster, job: Stored, owned: list[Stored]) -> _Look:
    """Count the Pods that ended since the last look and let go of them."""
    value = job.copy()
    status: Value = value.setdefault("status", {})
    changes: list[Change] = []
    done = set(read_indexes(str(status.get("completedIndexes", ""))))
    for pod in owned:
        if TRACKING not in (pod.value["metadata"].get("finalizers") or ()):
            continue
        if phase(pod) not in FINISHED and not is_going(pod):
            continue
        succeeded, index = phase(pod) == "Succeeded", _index(pod)
        if not succeeded or index is None or index not in done:
            name = "succeeded" if succeeded else "failed"
            status[name] = int(status.get(name, 0)) + 1
        if succeeded and index is not None:
            done.add(index)
        changes.append(_without_tracking(pod))
    if done:
        status["completedIndexes"] = write_indexes(done)
    active = [one for one in owned if phase(one) not in FINISHED and not is_going(one)]
    if changes:
        (job, *_) = cluster.state.commit([Change(job.key, value), *changes])
        value = job.copy()
        for change in changes:
            _remove_if_going(cluster, change)
    return _Look(job, value, active)


def _without_tracking(pod: Stored) -> Change:
    value = pod.copy()
    value["metadata"]["finalizers"] = [one for one in value["metadata"]["finalizers"] if one != TRACKING]
    if not value["metadata"]["finalizers"]:
        del value["metadata"]["finalizers"]
    return Change(pod.key, value)


def _remove_if_going(cluster: Cluster, change: Change) -> None:
    metadata = (change.value or {}).get("metadata", {})
    if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
        cluster.state.delete(change.key)


def _discard(cluster: Cluster, unwanted: Iterable[Stored]) -> None:
    """Remove Pods that are wanted no longer: they count neither as succeeded nor as failed."""
    for pod in unwanted:
        if TRACKING in (pod.value["metadata"].get("finalizers") or ()):
            (pod,) = cluster.state.commit([_without_tracking(pod)])
        remove(cluster, PODS, pod)


def _let_go(cluster: Cluster, owned: Iterable[Stored]) -> None:
    """What a Job that is being deleted needs not count any more."""
    for pod in owned:
        if TRACKING in (pod.value["metadata"].get("finalizers") or ()):
            change = _without_tracking(pod)
            cluster.state.commit([change])
            _remove_if_going(cluster, change)


def _index(pod: Stored) -> int | None:
    written = str((pod.value["metadata"].get("annotations") or {}).get(INDEX, ""))
    return int(written) if written.isascii() and written.isdigit() else None


def read_indexes(written: str) -> Iterator[int]:
    """`0,2-4` → 0, 2, 3, 4."""
    for part in filter(None, written.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            yield from range(int(first), min(int(last or first), int(first) + 100_000) + 1)


def write_indexes(indexes: Iterable[int]) -> str:
    """The inverse of `read_indexes`: runs of at least three are written as a range."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs]
    return ",".join(parts)


# --- going on -------------------------------------------------------------------------------------------------------


def _pursue(cluster: Cluster, look: _Look) -> float | None:
    status, spec = look.status, look.spec
    status.setdefault("startTime", now())
    suspended = condition(status, "Suspended")
    if suspended is not None and suspended.get("status") == "True":
        _note(status, ("Suspended", "False", "JobResumed", "Job resumed"))
        status["startTime"] = now()
    limit, deadline = int(spec.get("backoffLimit", 6)), spec.get("activeDeadlineSeconds")
    left = None if deadline is None else float(deadline) - _seconds_since(str(status["startTime"]))
    completions = spec.get("completions")
    enough = 1 if completions is None else int(completions)
    if look.count("failed") > limit:
        _fail(look, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    elif left is not None and left <= 0:
        _fail(look, "DeadlineExceeded", "Job was active longer than specified deadline")
    elif look.count("succeeded") >= enough and (completions is not None or not look.active):
        _complete(look)
    else:
        look.active += _make(cluster, look)
    _report(cluster, look)
    return left


def _make(cluster: Cluster, look: _Look) -> list[Stored]:
    spec, succeeded = look.spec, look.count("succeeded")
    parallel, completions = int(spec.get("parallelism", 1)), spec.get("completions")
    if completions is None:
        wanted = len(look.active) if succeeded else parallel
    else:
        wanted = min(parallel, int(completions) - succeeded)
    prefix = f"{look.job.key.name[:57]}-"
    if wanted < len(look.active):
        _discard(cluster, look.active[wanted:])
        look.active = look.active[:wanted]
        return []
    number = min(wanted - len(look.active), BATCH)
    if spec.get("completionMode") == "Indexed" and completions is not None:
        taken = {_index(one) for one in look.active} | set(read_indexes(look.status.get("completedIndexes", "")))
        free = [index for index in range(min(int(completions), 100_000)) if index not in taken][:number]
        wishes = [_indexed(look, index) for index in free]
    else:
        wishes = [PodWish(prefix + random_suffix(), finalizers=[TRACKING], generate_name=prefix) for _ in range(number)]
    return make_pods(cluster, look.job, spec["template"], wishes)


def _indexed(look: _Look, index: int) -> PodWish:
    prefix = f"{look.job.key.name[:50]}-{index}"
    return PodWish(
        f"{prefix}-{random_suffix()}",
        labels={INDEX: str(index)},
        annotations={INDEX: str(index)},
        finalizers=[TRACKING],
        spec={"hostname": prefix},
        generate_name=f"{prefix}-",
    )


def _complete(look: _Look) -> None:
    why = "CompletionsReached"
    _note(look.status, ("SuccessCriteriaMet", "True", why, "Reached expected number of succeeded pods"))
    _note(look.status, ("Complete", "True", why, "Reached expected number of succeeded pods"))
    look.status["completionTime"] = now()


def _fail(look: _Look, reason: str, message: str) -> None:
    _note(look.status, ("FailureTarget", "True", reason, message))
    _note(look.status, ("Failed", "True", reason, message))


def _note(status: Value, wanted: tuple[str, str, str, str]) -> None:
    set_condition(status, wanted, "lastProbeTime")


def _stop(cluster: Cluster, look: _Look) -> None:
    _discard(cluster, look.active)
    for name in ("active", "ready"):
        look.status.pop(name, None)


def _suspend(cluster: Cluster, look: _Look) -> None:
    _stop(cluster, look)
    look.status.pop("startTime", None)
    _note(look.status, ("Suspended", "True", "JobSuspended", "Job suspended"))
    update(cluster, look.job, look.value)


def _report(cluster: Cluster, look: _Look) -> None:
    ended = is_finished(look.value)
    counts = {"active": len(look.active), "ready": sum(is_ready(one) for one in look.active)}
    for name, count in counts.items():
        look.status.pop(name, None)
        if count and not ended:
            look.status[name] = count
    look.status["uncountedTerminatedPods"] = {}
    update(cluster, look.job, look.value)


def _expiry(look: _Look) -> float | None:
    """Seconds until `ttlSecondsAfterFinished` is over, None when the Job stays."""
    ttl = look.spec.get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    ends = [condition(look.status, kind) for kind in ("Complete", "Failed")]
    moment = next(str(one.get("lastTransitionTime", "")) for one in ends if one is not None)
    return float(ttl) - _seconds_since(moment)


def _seconds_since(moment: str) -> float:
    try:
        then = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return 0.0
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()
