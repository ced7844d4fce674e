"""What the API does to the types that own Pods beyond their schemas: defaults, checks, immutability. Read by
`builtin_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.sandbox import resources, selectors
from reconciler.sandbox.pod_rules import Value, check_pod_spec, default_pod_spec, frozen_fields
from reconciler.sandbox.validation import Cause, invalid, required, unsupported

_JOB_NAME, _JOB_UID = "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def _spec(value: Value) -> Value:
    spec = value.get("spec")
    return spec if isinstance(spec, dict) else {}


def _default_template(spec: Value) -> None:
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        default_pod_spec(template["spec"])


def _default_deployment(value: Value) -> None:
    spec = _spec(value)
    _default_template(spec)
    _default_strategy(spec.get("strategy"), {"maxSurge": "25%", "maxUnavailable": "25%"})


def _default_replica_set(value: Value) -> None:
    _default_template(_spec(value))


def _default_stateful_set(value: Value) -> None:
    spec = _spec(value)
    _default_template(spec)
    _default_strategy(spec.get("updateStrategy"), {"partition": 0})


def _default_daemon_set(value: Value) -> None:
    spec = _spec(value)
    _default_template(spec)
    _default_strategy(spec.get("updateStrategy"), {"maxSurge": 0, "maxUnavailable": 1})


def _default_strategy(strategy: Any, rolling: Mapping[str, Any]) -> None:
    if isinstance(strategy, dict) and strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        below = strategy.setdefault("rollingUpdate", {})
        for name, default in rolling.items():
            below.setdefault(name, default)


def _default_job_spec(spec: Value) -> None:
    _default_template(spec)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)


def _default_job(value: Value) -> None:
    spec, metadata = _spec(value), value["metadata"]
    _default_job_spec(spec)
    template = spec.get("template")
    if spec.get("manualSelector") or not isinstance(template, dict) or not metadata.get("uid"):
        return
    uid, name = metadata["uid"], metadata.get("name", "")
    spec["selector"] = {"matchLabels": {_JOB_UID: uid}}
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels.update({_JOB_UID: uid, _JOB_NAME: name, "controller-uid": uid, "job-name": name})


def _default_cron_job(value: Value) -> None:
    spec = (_spec(value).get("jobTemplate") or {}).get("spec")
    if isinstance(spec, dict):
        _default_job_spec(spec)


def _check_replicas(spec: Value, *fields: str) -> Iterator[Cause]:
    for field in fields:
        number = spec.get(field)
        if isinstance(number, int) and number < 0:
            yield invalid(f"spec.{field}", number, "must be greater than or equal to 0")
        elif isinstance(number, int) and number >= 1 << 31:
            yield invalid(f"spec.{field}", number, "must be less than 2147483648")


def _check_selector(spec: Value) -> Iterator[Cause]:
    selector, template = spec.get("selector"), spec.get("template")
    if not isinstance(selector, dict):
        return
    for index, one in enumerate(selector.get("matchExpressions") or ()):
        if one.get("operator") not in _OPERATORS:
            path = f"spec.selector.matchExpressions[{index}].operator"
            yield unsupported(path, one.get("operator"), list(_OPERATORS))
            return
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")
    elif isinstance(template, dict):
        labels = (template.get("metadata") or {}).get("labels")
        if not selectors.matches(selectors.from_label_selector(selector), labels):
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _check_workload(value: Value) -> Iterator[Cause]:
    spec = _spec(value)
    yield from _check_replicas(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from _check_selector(spec)
    yield from _check_template(spec, "spec.template", ("Always",))


def _check_template(spec: Value, path: str, policies: tuple[str, ...]) -> Iterator[Cause]:
    template = spec.get("template")
    if not isinstance(template, dict):
        return
    if "spec" not in template:
        yield required(f"{path}.spec.containers")
    yield from check_pod_spec(template.get("spec"), f"{path}.spec")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy is not None and policy not in policies:
        yield unsupported(f"{path}.spec.restartPolicy", policy, list(policies))


def _check_stateful_set(value: Value) -> Iterator[Cause]:
    yield from _check_workload(value)
    spec = _spec(value)
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        yield unsupported("spec.podManagementPolicy", policy, ["OrderedReady", "Parallel"])
    for index, one in enumerate(spec.get("volumeClaimTemplates") or ()):
        if not (one.get("metadata") or {}).get("name"):
            yield required(f"spec.volumeClaimTemplates[{index}].metadata.name")


def _check_job(value: Value) -> Iterator[Cause]:
    spec = _spec(value)
    fields = ("parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds")
    yield from _check_replicas(spec, *fields)
    yield from _check_selector(spec)
    yield from _check_template(spec, "spec.template", ("OnFailure", "Never"))
    mode = spec.get("completionMode")
    if mode not in ("NonIndexed", "Indexed"):
        yield unsupported("spec.completionMode", mode, ["NonIndexed", "Indexed"])
    if mode == "Indexed" and spec.get("completions") is None:
        yield required("spec.completions", "when completion mode is Indexed")
    if (spec.get("completions") or 0) > 100_000 and mode == "Indexed":
        yield invalid("spec.completions", spec["completions"], "must be less than or equal to 100000")


def _check_cron_job(value: Value) -> Iterator[Cause]:
    spec = _spec(value)
    schedule = str(spec.get("schedule", ""))
    if not schedule:
        yield required("spec.schedule")
    elif not schedule.startswith("@") and len(schedule.split()) != 5:
        yield invalid("spec.schedule", schedule, f"expected exactly 5 fields, found {len(schedule.split())}")
    below = (spec.get("jobTemplate") or {}).get("spec")
    if isinstance(below, dict):
        yield from _check_template(below, "spec.jobTemplate.spec.template", ("OnFailure", "Never"))


_STATEFUL_MAY_CHANGE = frozenset({
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
})  # fmt: skip


def _frozen_stateful_set(live: Value, value: Value) -> Iterator[Cause]:
    before = {name: one for name, one in _spec(live).items() if name not in _STATEFUL_MAY_CHANGE}
    after = {name: one for name, one in _spec(value).items() if name not in _STATEFUL_MAY_CHANGE}
    if before != after:
        allowed = "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit'"
        more = "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
        message = f"Forbidden: updates to statefulset spec for fields other than {allowed}, {more} are forbidden"
        yield Cause("FieldValueForbidden", message, "spec")


def _frozen_job(live: Value, value: Value) -> Iterator[Cause]:
    fields = ["spec.selector", "spec.completionMode"]
    if not _spec(live).get("suspend"):
        fields.append("spec.template")
    if _spec(live).get("completionMode") != "Indexed":
        fields.append("spec.completions")
    yield from frozen_fields(*fields)(live, value)


DEFAULTS: Mapping[str, Callable[[Value], None]] = {
    resources.DEPLOYMENTS.resource: _default_deployment,
    resources.REPLICA_SETS.resource: _default_replica_set,
    resources.STATEFUL_SETS.resource: _default_stateful_set,
    resources.DAEMON_SETS.resource: _default_daemon_set,
    resources.JOBS.resource: _default_job,
    resources.CRON_JOBS.resource: _default_cron_job,
}
CHECKS: Mapping[str, Callable[[Value], Iterator[Cause]]] = {
    resources.DEPLOYMENTS.resource: _check_workload,
    resources.REPLICA_SETS.resource: _check_workload,
    resources.STATEFUL_SETS.resource: _check_stateful_set,
    resources.DAEMON_SETS.resource: _check_workload,
    resources.JOBS.resource: _check_job,
    resources.CRON_JOBS.resource: _check_cron_job,
}
UPDATE_CHECKS: Mapping[str, Callable[[Value, Value], Iterator[Cause]]] = {
    resources.DEPLOYMENTS.resource: frozen_fields("spec.selector"),
    resources.REPLICA_SETS.resource: frozen_fields("spec.selector"),
    resources.STATEFUL_SETS.resource: _frozen_stateful_set,
    resources.DAEMON_SETS.resource: frozen_fields("spec.selector"),
    resources.JOBS.resource: _frozen_job,
}
INITIAL_STATUS: Mapping[str, Value] = {
    resources.REPLICA_SETS.resource: {"replicas": 0},
    resources.DEPLOYMENTS.resource: {},
    resources.STATEFUL_SETS.resource: {"replicas": 0, "availableReplicas": 0},
    resources.DAEMON_SETS.resource: {
        "currentNumberScheduled": 0,
        "desiredNumberScheduled": 0,
        "numberMisscheduled": 0,
        "numberReady": 0,
    },
    resources.JOBS.resource: {},
    resources.CRON_JOBS.resource: {},
}
