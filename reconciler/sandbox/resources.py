"""The built-in types that are served: one written table. What is neither here nor in a definition is answered with 404.

Read by `registry`, `catalog` (which models the schemas come from) and whoever means one certain type.
"""

from __future__ import annotations

from typing import Any

from reconciler.sandbox.resource_types import ResourceType, ScalePaths


def _type(group: str, kind: str, plural: str, *short_names: str, **more: Any) -> ResourceType:
    """One row: version v1 and the client's model `V1KIND` unless `more` says otherwise."""
    version = more.pop("version", "v1")
    model = more.pop("model", f"V1{kind}")
    component = more.pop("component", f"{version}.{kind}")
    return ResourceType(group, version, kind, plural, component, short_names=short_names, model=model, **more)


_POD_FIELDS = frozenset({
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
})  # fmt: skip
_EVENT_FIELDS = frozenset({
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
})  # fmt: skip
_WORKLOAD: dict[str, Any] = {"categories": ("all",), "status": True, "generation": True}
_SCALED: dict[str, Any] = {**_WORKLOAD, "scale": ScalePaths()}
_CLUSTER: dict[str, Any] = {"namespaced": False}
_RBAC = "rbac.authorization.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
_QUESTION: dict[str, Any] = {"namespaced": False, "verbs": ("create",), "resets_status": False}

NAMESPACES = _type(
    "",
    "Namespace",
    "namespaces",
    "ns",
    **_CLUSTER,
    status=True,
    field_labels=frozenset({"status.phase", "name"}),
    name_rule="label",
)
NODES = _type(
    "",
    "Node",
    "nodes",
    "no",
    **_CLUSTER,
    status=True,
    field_labels=frozenset({"spec.unschedulable"}),
    resets_status=False,
)
PODS = _type("", "Pod", "pods", "po", categories=("all",), status=True, field_labels=_POD_FIELDS, returns_deleted=True)
SERVICES = _type(
    "",
    "Service",
    "services",
    "svc",
    categories=("all",),
    status=True,
    field_labels=frozenset({"spec.clusterIP", "spec.type"}),
    name_rule="label",
    returns_deleted=True,
)
CONFIG_MAPS = _type("", "ConfigMap", "configmaps", "cm")
SECRETS = _type("", "Secret", "secrets", field_labels=frozenset({"type"}))
SERVICE_ACCOUNTS = _type("", "ServiceAccount", "serviceaccounts", "sa", returns_deleted=True)
ENDPOINTS = _type("", "Endpoints", "endpoints", "ep")
EVENTS = _type("", "Event", "events", "ev", model="CoreV1Event", field_labels=_EVENT_FIELDS)
VOLUMES = _type("", "PersistentVolume", "persistentvolumes", "pv", **_CLUSTER, status=True, returns_deleted=True)
VOLUME_CLAIMS = _type("", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True, returns_deleted=True)
QUOTAS = _type("", "ResourceQuota", "resourcequotas", "quota", status=True, returns_deleted=True)
LIMIT_RANGES = _type("", "LimitRange", "limitranges", "limits")
REPLICATION_CONTROLLERS = _type("", "ReplicationController", "replicationcontrollers", "rc", **_SCALED)
DEPLOYMENTS = _type("apps", "Deployment", "deployments", "deploy", **_SCALED)
REPLICA_SETS = _type("apps", "ReplicaSet", "replicasets", "rs", **_SCALED, field_labels=frozenset({"status.replicas"}))
STATEFUL_SETS = _type("apps", "StatefulSet", "statefulsets", "sts", **_SCALED)
DAEMON_SETS = _type("apps", "DaemonSet", "daemonsets", "ds", **_WORKLOAD)
REVISIONS = _type("apps", "ControllerRevision", "controllerrevisions")
JOBS = _type("batch", "Job", "jobs", **_WORKLOAD, field_labels=frozenset({"status.successful"}))
CRON_JOBS = _type("batch", "CronJob", "cronjobs", "cj", **_WORKLOAD)
ROLES = _type(_RBAC, "Role", "roles")
ROLE_BINDINGS = _type(_RBAC, "RoleBinding", "rolebindings")
CLUSTER_ROLES = _type(_RBAC, "ClusterRole", "clusterroles", **_CLUSTER)
CLUSTER_ROLE_BINDINGS = _type(_RBAC, "ClusterRoleBinding", "clusterrolebindings", **_CLUSTER)
INGRESSES = _type("networking.k8s.io", "Ingress", "ingresses", "ing", status=True, generation=True)
INGRESS_CLASSES = _type("networking.k8s.io", "IngressClass", "ingressclasses", **_CLUSTER, generation=True)
NETWORK_POLICIES = _type("networking.k8s.io", "NetworkPolicy", "networkpolicies", "netpol", generation=True)
NEW_EVENTS = _type(
    "events.k8s.io",
    "Event",
    "events",
    "ev",
    model="EventsV1Event",
    component="EventsV1Event",
    field_labels=frozenset({"reason", "type"}),
    stored_as=EVENTS.resource,
)
DISRUPTION_BUDGETS = _type("policy", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", status=True, generation=True)
AUTOSCALERS = _type(
    "autoscaling",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    "hpa",
    version="v2",
    model="V2HorizontalPodAutoscaler",
    categories=("all",),
    status=True,
)
OLD_AUTOSCALERS = _type(
    "autoscaling",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    "hpa",
    categories=("all",),
    status=True,
    stored_as=AUTOSCALERS.resource,
)
LEASES = _type("coordination.k8s.io", "Lease", "leases")
PRIORITY_CLASSES = _type("scheduling.k8s.io", "PriorityClass", "priorityclasses", "pc", **_CLUSTER)
STORAGE_CLASSES = _type("storage.k8s.io", "StorageClass", "storageclasses", "sc", **_CLUSTER)
DEFINITIONS = _type(
    "apiextensions.k8s.io",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    "crd",
    "crds",
    **_CLUSTER,
    categories=("api-extensions",),
    status=True,
    generation=True,
)
ACCESS_REVIEWS = _type(_AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", **_QUESTION)
RULES_REVIEWS = _type(_AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", **_QUESTION)
SUBJECT_REVIEWS = _type("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", **_QUESTION)

BUILT_IN = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    ENDPOINTS,
    EVENTS,
    VOLUMES,
    VOLUME_CLAIMS,
    QUOTAS,
    LIMIT_RANGES,
    REPLICATION_CONTROLLERS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REVISIONS,
    JOBS,
    CRON_JOBS,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    INGRESSES,
    INGRESS_CLASSES,
    NETWORK_POLICIES,
    NEW_EVENTS,
    DISRUPTION_BUDGETS,
    AUTOSCALERS,
    OLD_AUTOSCALERS,
    LEASES,
    PRIORITY_CLASSES,
    STORAGE_CLASSES,
    DEFINITIONS,
    ACCESS_REVIEWS,
    RULES_REVIEWS,
    SUBJECT_REVIEWS,
)
EXTRA_MODELS = ("V1Scale", "V1DeleteOptions")
