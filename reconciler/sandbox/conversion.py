"""The same object in another version: custom types differ in their apiVersion only, two built-in ones in more.

Events have other names for some fields in events.k8s.io; a HorizontalPodAutoscaler of v1 knows one metric, the CPU.
Pure. Called by `writes` (what is stored) and `rendering` (what is answered).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.resources import AUTOSCALERS, EVENTS, NEW_EVENTS, OLD_AUTOSCALERS

Value = dict[str, Any]

# Field of core/v1 → field of events.k8s.io/v1; all others have one name.
_EVENT_FIELDS: Mapping[str, str] = {
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "involvedObject": "regarding",
    "lastTimestamp": "deprecatedLastTimestamp",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
}
_CORE_FIELDS: Mapping[str, str] = {new: old for old, new in _EVENT_FIELDS.items()}
_CPU = "targetCPUUtilizationPercentage"
_NEW_STATUS = frozenset({"conditions", "currentMetrics"})


def to_version(resource_type: ResourceType, value: Value) -> Value:
    """A stored object as an object of `resource_type`."""
    if value.get("apiVersion") == resource_type.api_version:
        return value
    if resource_type is NEW_EVENTS:
        value = {_EVENT_FIELDS.get(name, name): part for name, part in value.items()}
    elif resource_type is OLD_AUTOSCALERS:
        value = _older_autoscaler(value)
    return {**value, "apiVersion": resource_type.api_version}


def to_stored(resource_type: ResourceType, value: Value, api_version: str = "") -> Value:
    """An object of `resource_type` as it is kept. api_version: of the object that it replaces, "" for a new one."""
    if resource_type is NEW_EVENTS:
        renamed = {_CORE_FIELDS.get(name, name): part for name, part in value.items()}
        renamed.setdefault("involvedObject", {})
        return {**renamed, "apiVersion": EVENTS.api_version}
    if resource_type is OLD_AUTOSCALERS:
        return {**_newer_autoscaler(value), "apiVersion": AUTOSCALERS.api_version}
    return {**value, "apiVersion": api_version} if api_version and value.get("apiVersion") != api_version else value


def _older_autoscaler(value: Value) -> Value:
    spec = {name: one for name, one in (value.get("spec") or {}).items() if name not in ("metrics", "behavior")}
    for metric in (value.get("spec") or {}).get("metrics") or ():
        source = metric.get("resource") or {}
        share = (source.get("target") or {}).get("averageUtilization")
        if source.get("name") == "cpu" and share is not None:
            spec[_CPU] = share
    older = {**value, "spec": spec}
    if "status" in value:
        older["status"] = {name: one for name, one in value["status"].items() if name not in _NEW_STATUS}
    return older


def _newer_autoscaler(value: Value) -> Value:
    spec = dict(value.get("spec") or {})
    share = spec.pop(_CPU, None)
    if share is not None:
        target = {"type": "Utilization", "averageUtilization": share}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**value, "spec": spec}
