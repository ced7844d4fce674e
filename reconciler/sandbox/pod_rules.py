"""What the API does to Pods and Pod templates beyond their schema. Called by `builtin_rules` and `workload_rules`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.sandbox.objects import is_dns_label
from reconciler.sandbox.validation import Cause, duplicate, invalid, required, unsupported

Value = dict[str, Any]
IMMUTABLE = "field is immutable"


def default_pod_spec(spec: Value) -> None:
    """Fill in place what a Pod's spec and a template's have in common."""
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        image = str(container.get("image", ""))
        tag = image.rpartition("/")[2].partition(":")[2]
        pinned = "@" in image or tag not in ("", "latest")
        container.setdefault("imagePullPolicy", "IfNotPresent" if pinned else "Always")
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])


def default_pod(value: Value) -> None:
    """Fill a Pod in place."""
    spec = value.get("spec")
    if isinstance(spec, dict):
        spec.setdefault("enableServiceLinks", True)
        default_pod_spec(spec)
        for container in spec.get("containers") or ():
            limits = (container.get("resources") or {}).get("limits") or {}
            for name, amount in limits.items():
                container["resources"].setdefault("requests", {}).setdefault(name, amount)


def check_pod_spec(spec: Any, path: str) -> Iterator[Cause]:
    """What is wrong with a Pod's spec at `path`."""
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
                yield from check_port(port.get("containerPort"), f"{where}.ports[{at}].containerPort")
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        yield unsupported(f"{path}.restartPolicy", spec["restartPolicy"], ["Always", "OnFailure", "Never"])


def check_port(port: Any, path: str) -> Iterator[Cause]:
    """What is wrong with the number of a port."""
    if isinstance(port, int) and not 1 <= port <= 65535:
        yield invalid(path, port, "must be between 1 and 65535, inclusive")


def check_pod(value: Value) -> Iterator[Cause]:
    """What is wrong with a Pod."""
    yield from check_pod_spec(value.get("spec"), "spec")


def frozen_fields(*paths: str) -> Callable[[Value, Value], Iterator[Cause]]:
    """A check that an update changes none of these fields once they are set."""

    def check(live: Value, value: Value) -> Iterator[Cause]:
        for path in paths:
            before, after = _at(live, path), _at(value, path)
            if before is not None and before != after:
                yield invalid(path, after, IMMUTABLE)

    return check


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


_POD_MAY_CHANGE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")


def frozen_pod(live: Value, value: Value) -> Iterator[Cause]:
    """What an update of a Pod may not change."""

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
