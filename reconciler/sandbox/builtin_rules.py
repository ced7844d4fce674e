"""What the API does to built-in types beyond their schemas: defaults that depend on other fields, checks, immutability.

Called by `writes` after decoding. Each rule is a small function in one of the tables at the end; a type without a
rule has only what its schema says.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.sandbox import resources, selectors
from reconciler.sandbox.objects import is_dns_label
from reconciler.sandbox.validation import Cause, duplicate, invalid, required, unsupported

Value = dict[str, Any]
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")


# --- defaults -------------------------------------------------------------------------------------------------------


def _default_pod_spec(spec: Value) -> None:
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        image = str(container.get("image", ""))
        tag = image.rpartition("/")[2].partition(":")[2]
        pinned = "@" in image or tag not in ("", "latest")
        container.setdefault("imagePullPolicy", "IfNotPresent" if pinned else "Always")
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])


def _default_pod(value: Value) -> None:
    spec = value.get("spec")
    if isinstance(spec, dict):
        spec.setdefault("enableServiceLinks", True)
        _default_pod_spec(spec)
        for container in spec.get("containers") or ():
            limits = (container.get("resources") or {}).get("limits") or {}
            for name, amount in limits.items():
                container["resources"].setdefault("requests", {}).setdefault(name, amount)


def _default_workload(value: Value) -> None:
    spec = value.get("spec")
    if not isinstance(spec, dict):
        return
    template = spec.get("template")
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        _default_pod_spec(template["spec"])
    strategy = spec.get("strategy")
    if isinstance(strategy, dict) and strategy.get("type", "RollingUpdate") == "RollingUpdate":
        strategy["type"] = "RollingUpdate"
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


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


# --- checks ---------------------------------------------------------------------------------------------------------


def _check_pod_spec(spec: Any, path: str) -> Iterator[Cause]:
    if not isinstance(spec, dict):
        return
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}[{index}]"
            name = container.get("name", "")
            if name and not is_dns_label(name):
                yield invalid(
                    f"{where}.name",
                    name,
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'",
                )
            if name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
            if not container.get("image"):
                yield required(f"{where}.image")
            for at, port in enumerate(container.get("ports") or ()):
                yield from _check_port(port.get("containerPort"), f"{where}.ports[{at}].containerPort")
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        yield unsupported(f"{path}.restartPolicy", spec["restartPolicy"], ["Always", "OnFailure", "Never"])


def _check_port(port: Any, path: str) -> Iterator[Cause]:
    if isinstance(port, int) and not 1 <= port <= 65535:
        yield invalid(path, port, "must be between 1 and 65535, inclusive")


def _check_pod(value: Value) -> Iterator[Cause]:
    yield from _check_pod_spec(value.get("spec"), "spec")


def _check_workload(value: Value) -> Iterator[Cause]:
    spec = value.get("spec") or {}
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        yield invalid("spec.replicas", replicas, "must be greater than or equal to 0")
    selector, template = spec.get("selector"), spec.get("template")
    if isinstance(selector, dict) and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")
    elif isinstance(selector, dict) and isinstance(template, dict):
        labels = (template.get("metadata") or {}).get("labels")
        if not selectors.matches(selectors.from_label_selector(selector), labels):
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if isinstance(template, dict):
        if "spec" not in template:
            yield required("spec.template.spec.containers")
        yield from _check_pod_spec(template.get("spec"), "spec.template.spec")


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
        yield from _check_port(port.get("port"), f"spec.ports[{index}].port")
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
    yield from _check_keys(value, "data", "binaryData")
    for key in (value.get("data") or {}).keys() & (value.get("binaryData") or {}).keys():
        yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")


def _check_secret(value: Value) -> Iterator[Cause]:
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


# --- what an update may not change ----------------------------------------------------------------------------------

_IMMUTABLE = "field is immutable"


def _frozen_fields(*paths: str) -> Callable[[Value, Value], Iterator[Cause]]:
    def check(live: Value, value: Value) -> Iterator[Cause]:
        for path in paths:
            before, after = _at(live, path), _at(value, path)
            if before is not None and before != after:
                yield invalid(path, after, _IMMUTABLE)

    return check


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _frozen_when_marked(live: Value, value: Value) -> Iterator[Cause]:
    if live.get("immutable"):
        for field in ("data", "binaryData", "immutable"):
            if live.get(field) != value.get(field):
                yield Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field)


def _frozen_secret(live: Value, value: Value) -> Iterator[Cause]:
    yield from _frozen_fields("type")(live, value)
    yield from _frozen_when_marked(live, value)


_POD_MAY_CHANGE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")


def _frozen_pod(live: Value, value: Value) -> Iterator[Cause]:
    def fixed(pod: Value) -> Value:
        spec = {key: part for key, part in (pod.get("spec") or {}).items() if key not in _POD_MAY_CHANGE}
        for field in ("containers", "initContainers"):
            spec[field] = [{**one, "image": ""} for one in spec.get(field) or ()]
        return spec

    before, after = fixed(live), fixed(value)
    if not before.get("nodeName"):
        after.pop("nodeName", None)
    if before != after:
        allowed = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`"
        message = f"Forbidden: pod updates may not change fields other than {allowed},`spec.tolerations`"
        yield Cause("FieldValueForbidden", message, "spec")


DEFAULTS: Mapping[str, Callable[[Value], None]] = {
    resources.PODS.resource: _default_pod,
    resources.DEPLOYMENTS.resource: _default_workload,
    resources.REPLICA_SETS.resource: _default_workload,
    resources.NAMESPACES.resource: _default_namespace,
    resources.SERVICES.resource: _default_service,
    resources.SECRETS.resource: _default_secret,
}
CHECKS: Mapping[str, Callable[[Value], Iterator[Cause]]] = {
    resources.PODS.resource: _check_pod,
    resources.DEPLOYMENTS.resource: _check_workload,
    resources.REPLICA_SETS.resource: _check_workload,
    resources.SERVICES.resource: _check_service,
    resources.CONFIG_MAPS.resource: _check_config_map,
    resources.SECRETS.resource: _check_secret,
    resources.VOLUME_CLAIMS.resource: _check_claim,
}
UPDATE_CHECKS: Mapping[str, Callable[[Value, Value], Iterator[Cause]]] = {
    resources.PODS.resource: _frozen_pod,
    resources.DEPLOYMENTS.resource: _frozen_fields("spec.selector"),
    resources.REPLICA_SETS.resource: _frozen_fields("spec.selector"),
    resources.CONFIG_MAPS.resource: _frozen_when_marked,
    resources.SECRETS.resource: _frozen_secret,
    resources.VOLUME_CLAIMS.resource: _frozen_fields("spec.accessModes", "spec.storageClassName", "spec.volumeMode"),
}

# What the API itself writes into `status` of a new object.
INITIAL_STATUS: Mapping[str, Value] = {
    resources.PODS.resource: {"phase": "Pending", "qosClass": "BestEffort"},
    resources.NAMESPACES.resource: {"phase": "Active"},
    resources.SERVICES.resource: {"loadBalancer": {}},
    resources.REPLICA_SETS.resource: {"replicas": 0},
    resources.DEPLOYMENTS.resource: {},
    resources.VOLUME_CLAIMS.resource: {"phase": "Pending"},
}
