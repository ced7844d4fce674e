"""What the API does to built-in types beyond their schemas: defaults that depend on other fields, checks, immutability.

Called by `writes` after decoding. Each rule is a small function in one of the tables at the end; a type without a
rule has only what its schema says.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping

from reconciler.sandbox import resources, workload_rules
from reconciler.sandbox.pod_rules import Value, check_pod, check_port, default_pod, frozen_fields, frozen_pod
from reconciler.sandbox.validation import Cause, duplicate, invalid, required, unsupported

_RBAC = "rbac.authorization.k8s.io"
_LARGEST_CONTENT = 1024 * 1024
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")


# --- defaults -------------------------------------------------------------------------------------------------------


def _default_namespace(value: Value) -> None:
    name = value["metadata"].get("name")
    if name:
        value["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    value.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _default_service(value: Value) -> None:
    spec = value.setdefault("spec", {})
    if not isinstance(spec, dict):
        return
    for port in spec.get("ports") or ():
        if isinstance(port, dict) and "port" in port:
            port.setdefault("targetPort", port["port"])
    if spec.get("type") != "ExternalName":
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")


def _default_secret(value: Value) -> None:
    written = value.pop("stringData", None)
    if isinstance(written, dict):
        stored = value.setdefault("data", {})
        for key, text in written.items():
            stored[key] = base64.b64encode(str(text).encode()).decode()


def _default_policy(value: Value) -> None:
    spec = value.get("spec")
    if isinstance(spec, dict) and "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _default_binding(value: Value) -> None:
    role = value.get("roleRef")
    if isinstance(role, dict):
        role.setdefault("apiGroup", _RBAC)
    for subject in value.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)


# --- checks ---------------------------------------------------------------------------------------------------------


def _check_service(value: Value) -> Iterator[Cause]:
    spec = value.get("spec") or {}
    kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
    if spec.get("type") not in kinds:
        yield unsupported("spec.type", spec.get("type"), kinds)
    if spec.get("type") == "ExternalName":
        if not spec.get("externalName"):
            yield required("spec.externalName")
        return
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    names: set[str] = set()
    for index, port in enumerate(ports):
        yield from check_port(port.get("port"), f"spec.ports[{index}].port")
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            yield required(f"spec.ports[{index}].name")
        elif name and name in names:
            yield duplicate(f"spec.ports[{index}].name", name)
        names.add(name)


def _check_keys(value: Value, *fields: str) -> Iterator[Cause]:
    for field in fields:
        for key in value.get(field) or {}:
            if not _DATA_KEY.match(key) or key in (".", ".."):
                yield invalid(
                    f"{field}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                )


def _check_config_map(value: Value) -> Iterator[Cause]:
    yield from _check_size(value)
    yield from _check_keys(value, "data", "binaryData")
    for key in (value.get("data") or {}).keys() & (value.get("binaryData") or {}).keys():
        yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")


def _check_secret(value: Value) -> Iterator[Cause]:
    yield from _check_size(value)
    account = "kubernetes.io/service-account.name"
    if value.get("type") == "kubernetes.io/service-account-token" and not (
        (value["metadata"].get("annotations") or {}).get(account)
    ):
        yield required(f"metadata.annotations[{account}]")
    yield from _check_keys(value, "data")
    for key, text in (value.get("data") or {}).items():
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            yield invalid(f"data[{key}]", "<redacted>", "illegal base64 data")


def _check_claim(value: Value) -> Iterator[Cause]:
    spec = value.get("spec") or {}
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield required("spec.resources[storage]")


def _check_ingress(value: Value) -> Iterator[Cause]:
    spec = value.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        yield invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    kinds = ["Exact", "ImplementationSpecific", "Prefix"]
    for index, rule in enumerate(spec.get("rules") or ()):
        for at, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            if path.get("pathType") is not None and path["pathType"] not in kinds:
                yield unsupported(f"spec.rules[{index}].http.paths[{at}].pathType", path["pathType"], kinds)


def _check_budget(value: Value) -> Iterator[Cause]:
    spec = value.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")


def _check_autoscaler(value: Value) -> Iterator[Cause]:
    spec = value.get("spec") or {}
    most, least = spec.get("maxReplicas"), spec.get("minReplicas", 1)
    if isinstance(most, int) and most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    elif isinstance(most, int) and isinstance(least, int) and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")


def _check_role(value: Value) -> Iterator[Cause]:
    for index, rule in enumerate(value.get("rules") or ()):
        if not rule.get("verbs"):
            yield required(f"rules[{index}].verbs", "verbs must contain at least one value")


def _check_size(value: Value) -> Iterator[Cause]:
    size = sum(
        len(key) + len(str(one)) for field in ("data", "binaryData") for key, one in (value.get(field) or {}).items()
    )
    if size > _LARGEST_CONTENT:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {_LARGEST_CONTENT} bytes", "")


# --- what an update may not change ----------------------------------------------------------------------------------


def _frozen_when_marked(live: Value, value: Value) -> Iterator[Cause]:
    if live.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if live.get(field) != value.get(field):
                yield Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field)


def _frozen_role(live: Value, value: Value) -> Iterator[Cause]:
    if live.get("roleRef") != value.get("roleRef"):
        yield invalid("roleRef", value.get("roleRef"), "cannot change roleRef")


def _frozen_secret(live: Value, value: Value) -> Iterator[Cause]:
    yield from frozen_fields("type")(live, value)
    yield from _frozen_when_marked(live, value)


DEFAULTS: Mapping[str, Callable[[Value], None]] = {
    **workload_rules.DEFAULTS,
    resources.PODS.resource: default_pod,
    resources.NAMESPACES.resource: _default_namespace,
    resources.SERVICES.resource: _default_service,
    resources.SECRETS.resource: _default_secret,
    resources.NETWORK_POLICIES.resource: _default_policy,
    resources.ROLE_BINDINGS.resource: _default_binding,
    resources.CLUSTER_ROLE_BINDINGS.resource: _default_binding,
}
CHECKS: Mapping[str, Callable[[Value], Iterator[Cause]]] = {
    **workload_rules.CHECKS,
    resources.PODS.resource: check_pod,
    resources.SERVICES.resource: _check_service,
    resources.CONFIG_MAPS.resource: _check_config_map,
    resources.SECRETS.resource: _check_secret,
    resources.VOLUME_CLAIMS.resource: _check_claim,
    resources.INGRESSES.resource: _check_ingress,
    resources.DISRUPTION_BUDGETS.resource: _check_budget,
    resources.AUTOSCALERS.resource: _check_autoscaler,
    resources.ROLES.resource: _check_role,
    resources.CLUSTER_ROLES.resource: _check_role,
}
UPDATE_CHECKS: Mapping[str, Callable[[Value, Value], Iterator[Cause]]] = {
    **workload_rules.UPDATE_CHECKS,
    resources.PODS.resource: frozen_pod,
    resources.CONFIG_MAPS.resource: _frozen_when_marked,
    resources.SECRETS.resource: _frozen_secret,
    resources.VOLUME_CLAIMS.resource: frozen_fields("spec.accessModes", "spec.storageClassName", "spec.volumeMode"),
    resources.ROLE_BINDINGS.resource: _frozen_role,
    resources.CLUSTER_ROLE_BINDINGS.resource: _frozen_role,
    resources.PRIORITY_CLASSES.resource: frozen_fields("value", "preemptionPolicy"),
    resources.STORAGE_CLASSES.resource: frozen_fields("provisioner", "parameters", "reclaimPolicy"),
    resources.REVISIONS.resource: frozen_fields("data"),
}

# What the API itself writes into `status` of a new object.
INITIAL_STATUS: Mapping[str, Value] = {
    **workload_rules.INITIAL_STATUS,
    resources.PODS.resource: {"phase": "Pending", "qosClass": "BestEffort"},
    resources.NAMESPACES.resource: {"phase": "Active"},
    resources.SERVICES.resource: {"loadBalancer": {}},
    resources.VOLUME_CLAIMS.resource: {"phase": "Pending"},
    resources.VOLUMES.resource: {"phase": "Available"},
    resources.INGRESSES.resource: {"loadBalancer": {}},
}
