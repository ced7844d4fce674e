"""What the Kubernetes client's models do not say about their fields: list-merge keys, number-like strings, defaults.

The one written table behind strategic merge patch, server-side apply and defaulting, taken from the API reference.
Read by `models` when it derives the OpenAPI components; names are `Type.field` as in the API (not as in the Python
models).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ListFact:
    """How one list field merges.

    kind: map | set. keys: identity of an element for server-side apply. merge_key: the same for strategic merge
    patch, where only one key exists ("" when that patch replaces the list). retain_keys: elements also obey
    `$retainKeys`.
    """

    kind: str
    keys: tuple[str, ...] = ()
    merge_key: str = ""
    retain_keys: bool = False

    def extensions(self) -> dict[str, Any]:
        """The x-kubernetes-* extensions that say this in an OpenAPI document."""
        written: dict[str, Any] = {"x-kubernetes-list-type": self.kind}
        if self.keys:
            written["x-kubernetes-list-map-keys"] = list(self.keys)
        if self.merge_key:
            written["x-kubernetes-patch-merge-key"] = self.merge_key
        if self.merge_key or self.kind == "set":
            written["x-kubernetes-patch-strategy"] = "merge,retainKeys" if self.retain_keys else "merge"
        return written


def _by(*keys: str, merge_key: str | None = None, retain_keys: bool = False) -> ListFact:
    return ListFact("map", keys, keys[0] if merge_key is None else merge_key, retain_keys)


_CONTAINER_LISTS: Mapping[str, ListFact] = {
    "env": _by("name"),
    "ports": _by("containerPort", "protocol"),
    "volumeDevices": _by("devicePath"),
    "volumeMounts": _by("mountPath"),
}

_CONDITIONS = _by("type")

# Every list that is not named here is atomic for server-side apply and replaced by a strategic merge patch.
LISTS: Mapping[str, ListFact] = {
    "ObjectMeta.finalizers": ListFact("set"),
    "ObjectMeta.ownerReferences": _by("uid"),
    "PodSpec.containers": _by("name"),
    "PodSpec.initContainers": _by("name"),
    "PodSpec.ephemeralContainers": _by("name"),
    "PodSpec.volumes": _by("name", retain_keys=True),
    "PodSpec.hostAliases": _by("ip"),
    "PodSpec.imagePullSecrets": _by("name"),
    "PodSpec.resourceClaims": _by("name", retain_keys=True),
    "PodSpec.schedulingGates": _by("name"),
    "PodSpec.topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
    "PodStatus.conditions": _CONDITIONS,
    "PodStatus.podIPs": _by("ip"),
    "PodStatus.resourceClaimStatuses": _by("name", retain_keys=True),
    "ResourceRequirements.claims": _by("name", merge_key=""),
    "NamespaceStatus.conditions": _CONDITIONS,
    "NodeSpec.podCIDRs": ListFact("set"),
    "NodeStatus.addresses": _by("type"),
    "NodeStatus.conditions": _CONDITIONS,
    "PersistentVolumeClaimStatus.conditions": _CONDITIONS,
    "ServiceAccount.secrets": _by("name"),
    "ServiceSpec.ports": _by("port", "protocol"),
    "ServiceStatus.conditions": _CONDITIONS,
    "DeploymentStatus.conditions": _CONDITIONS,
    "ReplicaSetStatus.conditions": _CONDITIONS,
    "CustomResourceDefinitionStatus.conditions": _CONDITIONS,
    "DaemonSetStatus.conditions": _CONDITIONS,
    "HorizontalPodAutoscalerStatus.conditions": _CONDITIONS,
    "JobStatus.conditions": _CONDITIONS,
    "PodDisruptionBudgetStatus.conditions": _CONDITIONS,
    "ReplicationControllerStatus.conditions": _CONDITIONS,
    "StatefulSetStatus.conditions": _CONDITIONS,
    **{
        f"{container}.{field}": fact
        for container in ("Container", "EphemeralContainer")
        for field, fact in _CONTAINER_LISTS.items()
    },
}

# Objects that are owned and replaced as a whole.
ATOMIC_TYPES = frozenset({
    "ConfigMapKeySelector",
    "EndpointAddress",
    "EndpointPort",
    "FileKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "RbacV1Subject",
    "ResourceFieldSelector",
    "RoleRef",
    "ScopeSelector",
    "ScopedResourceSelectorRequirement",
    "SecretKeySelector",
    "SecretReference",
    "TypedLocalObjectReference",
})  # fmt: skip
ATOMIC_FIELDS = frozenset({"ServiceSpec.selector", "PodSpec.nodeSelector", "ReplicationControllerSpec.selector"})

# Objects of which a strategic merge patch keeps only the keys that it names under `$retainKeys`.
RETAIN_KEYS_FIELDS = frozenset({"DeploymentSpec.strategy"})

# Strings that may also be written as a number; what is stored is the string.
QUANTITIES = frozenset({
    "ContainerStatus.allocatedResources",
    "EmptyDirVolumeSource.sizeLimit",
    "LimitRangeItem.default",
    "LimitRangeItem.defaultRequest",
    "LimitRangeItem.max",
    "LimitRangeItem.maxLimitRequestRatio",
    "LimitRangeItem.min",
    "MetricTarget.averageValue",
    "MetricTarget.value",
    "MetricValueStatus.averageValue",
    "MetricValueStatus.value",
    "NodeStatus.allocatable",
    "NodeStatus.capacity",
    "PersistentVolumeClaimStatus.allocatedResources",
    "PersistentVolumeClaimStatus.capacity",
    "PersistentVolumeSpec.capacity",
    "PodSpec.overhead",
    "PodStatus.allocatedResources",
    "ResourceFieldSelector.divisor",
    "ResourceQuotaSpec.hard",
    "ResourceQuotaStatus.hard",
    "ResourceQuotaStatus.used",
    "ResourceRequirements.limits",
    "ResourceRequirements.requests",
    "VolumeResourceRequirements.limits",
    "VolumeResourceRequirements.requests",
})  # fmt: skip

INT_OR_STRINGS = frozenset({
    "HTTPGetAction.port",
    "NetworkPolicyPort.port",
    "PodDisruptionBudgetSpec.maxUnavailable",
    "PodDisruptionBudgetSpec.minAvailable",
    "RollingUpdateDaemonSet.maxSurge",
    "RollingUpdateDaemonSet.maxUnavailable",
    "RollingUpdateDeployment.maxSurge",
    "RollingUpdateDeployment.maxUnavailable",
    "RollingUpdateStatefulSetStrategy.maxUnavailable",
    "ServicePort.targetPort",
    "TCPSocketAction.port",
})  # fmt: skip

# Fields of which the models say `object` and any JSON value or any object is meant.
FREE_OBJECTS = frozenset({
    "ControllerRevision.data",
    "CustomResourceSubresources.status",
    "ManagedFieldsEntry.fieldsV1",
})  # fmt: skip

_CONTAINER_DEFAULTS: Mapping[str, Any] = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}

# Constant defaults; those that depend on other fields are in `builtin_rules`.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ConfigMapVolumeSource": {"defaultMode": 420},
    "Container": _CONTAINER_DEFAULTS,
    "ContainerPort": {"protocol": "TCP"},
    "DeploymentSpec": {
        "progressDeadlineSeconds": 600,
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "strategy": {"type": "RollingUpdate"},
    },
    "CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "failedJobsHistoryLimit": 1,
        "successfulJobsHistoryLimit": 3,
        "suspend": False,
    },
    "DaemonSetSpec": {"revisionHistoryLimit": 10, "updateStrategy": {"type": "RollingUpdate"}},
    "DownwardAPIVolumeSource": {"defaultMode": 420},
    "EndpointPort": {"protocol": "TCP"},
    "HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    "HostPathVolumeSource": {"type": ""},
    "JobSpec": {
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "podReplacementPolicy": "TerminatingOrFailed",
        "suspend": False,
    },
    "NetworkPolicyPort": {"protocol": "TCP"},
    "ObjectFieldSelector": {"apiVersion": "v1"},
    "PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"},
    "PodSpec": {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    },
    "PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    "Probe": {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1},
    "ProjectedVolumeSource": {"defaultMode": 420},
    "ReplicaSetSpec": {"replicas": 1},
    "ReplicationControllerSpec": {"replicas": 1},
    "Secret": {"type": "Opaque"},
    "SecretVolumeSource": {"defaultMode": 420},
    "ServicePort": {"protocol": "TCP"},
    "ServiceSpec": {"internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "ClusterIP"},
    "StatefulSetSpec": {
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "podManagementPolicy": "OrderedReady",
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate"},
    },
    "StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
}
