"""The columns of workloads and of what goes with them. Pure; read by `tables`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence

from reconciler.sandbox import resources
from reconciler.sandbox.cells import AGE, NAME, NONE, Cell, Value, age_of, at, human_age, selector


def _containers(field: str, template: str = "spec.template") -> Callable[[Value], str]:
    return lambda value: ",".join(str(one.get(field, "")) for one in at(f"{template}.spec.containers", ())(value))


def _duration(value: Value) -> str:
    begun, ended = at("status.startTime")(value), at("status.completionTime")(value)
    if not begun:
        return ""
    if not ended:
        return age_of(begun)
    first, last = (datetime.datetime.fromisoformat(moment) for moment in (begun, ended))
    return human_age((last - first).total_seconds())


def _job_status(value: Value) -> str:
    if "deletionTimestamp" in value["metadata"]:
        return "Terminating"
    for word in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
        for one in at("status.conditions", ())(value):
            if one.get("type") == word and one.get("status") == "True":
                return word
    return "Running"


def _completions(value: Value) -> str:
    done, wanted = at("status.succeeded", 0)(value), at("spec.completions", None)(value)
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = at("spec.parallelism", 1)(value)
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _hosts(value: Value) -> str:
    hosts = [str(one.get("host")) for one in at("spec.rules", ())(value) if one.get("host")]
    return ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "") or "*"


def _target(value: Value) -> str:
    return f"{at('spec.scaleTargetRef.kind')(value)}/{at('spec.scaleTargetRef.name')(value)}"


def _hard(value: Value) -> str:
    used = at("status.used", {})(value)
    return ", ".join(f"{name}: {used.get(name, 0)}/{most}" for name, most in sorted(at("spec.hard", {})(value).items()))


def _ago(moment: str) -> str:
    return age_of(moment) if moment else NONE


def _controller(value: Value) -> str:
    owner = next((one for one in at("metadata.ownerReferences", ())(value) if one.get("controller")), None)
    return f"{str(owner.get('kind')).lower()}.apps/{owner.get('name')}" if owner else NONE


def _role(value: Value) -> str:
    return f"{at('roleRef.kind')(value)}/{at('roleRef.name')(value)}"


_WORKLOAD_WIDE = (
    Cell("Containers", _containers("name"), wide=True),
    Cell("Images", _containers("image"), wide=True),
    Cell("Selector", selector("spec.selector.matchLabels"), wide=True),
)

WORKLOAD_TABLES: Mapping[str, Sequence[Cell]] = {
    resources.DEPLOYMENTS.resource: (
        NAME,
        Cell("Ready", lambda value: f"{at('status.readyReplicas', 0)(value)}/{at('spec.replicas', 0)(value)}"),
        Cell("Up-to-date", at("status.updatedReplicas", 0), "integer"),
        Cell("Available", at("status.availableReplicas", 0), "integer"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    resources.REPLICA_SETS.resource: (
        NAME,
        Cell("Desired", at("spec.replicas", 0), "integer"),
        Cell("Current", at("status.replicas", 0), "integer"),
        Cell("Ready", at("status.readyReplicas", 0), "integer"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    resources.STATEFUL_SETS.resource: (
        NAME,
        Cell("Ready", lambda value: f"{at('status.readyReplicas', 0)(value)}/{at('spec.replicas', 0)(value)}"),
        AGE,
        Cell("Containers", _containers("name"), wide=True),
        Cell("Images", _containers("image"), wide=True),
    ),
    resources.DAEMON_SETS.resource: (
        NAME,
        Cell("Desired", at("status.desiredNumberScheduled", 0), "integer"),
        Cell("Current", at("status.currentNumberScheduled", 0), "integer"),
        Cell("Ready", at("status.numberReady", 0), "integer"),
        Cell("Up-to-date", at("status.updatedNumberScheduled", 0), "integer"),
        Cell("Available", at("status.numberAvailable", 0), "integer"),
        Cell("Node Selector", selector("spec.template.spec.nodeSelector")),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    resources.REVISIONS.resource: (
        NAME,
        Cell("Controller", _controller),
        Cell("Revision", at("revision", 0), "integer"),
        AGE,
    ),
    resources.JOBS.resource: (
        NAME,
        Cell("Status", _job_status),
        Cell("Completions", _completions),
        Cell("Duration", _duration),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    resources.CRON_JOBS.resource: (
        NAME,
        Cell("Schedule", at("spec.schedule")),
        Cell("Timezone", at("spec.timeZone", NONE)),
        Cell("Suspend", lambda value: str(bool(at("spec.suspend", False)(value)))),
        Cell("Active", lambda value: len(at("status.active", ())(value)), "integer"),
        Cell("Last Schedule", lambda value: _ago(at("status.lastScheduleTime")(value))),
        AGE,
        Cell("Containers", _containers("name", "spec.jobTemplate.spec.template"), wide=True),
        Cell("Images", _containers("image", "spec.jobTemplate.spec.template"), wide=True),
    ),
    resources.INGRESSES.resource: (
        NAME,
        Cell("Class", at("spec.ingressClassName", NONE)),
        Cell("Hosts", _hosts),
        Cell("Address", lambda _: ""),
        Cell("Ports", lambda value: "80, 443" if at("spec.tls")(value) else "80"),
        AGE,
    ),
    resources.INGRESS_CLASSES.resource: (NAME, Cell("Controller", at("spec.controller")), AGE),
    resources.NETWORK_POLICIES.resource: (NAME, Cell("Pod-Selector", selector("spec.podSelector.matchLabels")), AGE),
    resources.DISRUPTION_BUDGETS.resource: (
        NAME,
        Cell("Min Available", lambda value: str(at("spec.minAvailable", "N/A")(value))),
        Cell("Max Unavailable", lambda value: str(at("spec.maxUnavailable", "N/A")(value))),
        Cell("Allowed Disruptions", at("status.disruptionsAllowed", 0), "integer"),
        AGE,
    ),
    resources.AUTOSCALERS.resource: (
        NAME,
        Cell("Reference", _target),
        Cell("Targets", lambda _: "<unknown>"),
        Cell("MinPods", lambda value: str(at("spec.minReplicas", 1)(value))),
        Cell("MaxPods", at("spec.maxReplicas", 0), "integer"),
        Cell("Replicas", at("status.currentReplicas", 0), "integer"),
        AGE,
    ),
    resources.QUOTAS.resource: (NAME, Cell("Request", _hard), Cell("Limit", lambda _: ""), AGE),
    resources.ROLE_BINDINGS.resource: (NAME, Cell("Role", _role), AGE),
    resources.CLUSTER_ROLE_BINDINGS.resource: (NAME, Cell("Role", _role), AGE),
    resources.LEASES.resource: (NAME, Cell("Holder", at("spec.holderIdentity")), AGE),
    resources.PRIORITY_CLASSES.resource: (
        NAME,
        Cell("Value", at("value", 0), "integer"),
        Cell("Global-Default", lambda value: str(bool(at("globalDefault", False)(value))).lower()),
        AGE,
    ),
    resources.STORAGE_CLASSES.resource: (
        NAME,
        Cell("Provisioner", at("provisioner")),
        Cell("ReclaimPolicy", at("reclaimPolicy")),
        Cell("VolumeBindingMode", at("volumeBindingMode")),
        AGE,
    ),
}
