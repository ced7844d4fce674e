"""Numbers that a cluster gives out once: service and pod addresses, node ports. Called by `writes`, `workloads`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from reconciler.sandbox.resources import PODS, SERVICES
from reconciler.sandbox.state import ClusterState
from reconciler.sandbox.statuses import ApiError

_NODE_PORTS = range(30000, 32768)


def allocate_service(state: ClusterState, live: dict[str, Any] | None, value: dict[str, Any]) -> None:
    """Give a service its clusterIP and node ports in place, keeping those of `live`. ApiError 422: a port is taken."""
    spec = value["spec"]
    before = (live or {}).get("spec") or {}
    others = [one for one in state.select(SERVICES.resource) if one.uid != value["metadata"].get("uid")]
    if spec.get("type") != "ExternalName":
        _allocate_address(spec, before, others)
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        _allocate_node_ports(spec, before, others)


def _allocate_address(spec: dict[str, Any], before: dict[str, Any], others: Iterable[Any]) -> None:
    if not spec.get("clusterIP"):
        taken = {(one.value.get("spec") or {}).get("clusterIP") for one in others}
        spec["clusterIP"] = before.get("clusterIP") or _first_free("10.43", taken)
    spec["clusterIPs"] = [spec["clusterIP"]]


def _allocate_node_ports(spec: dict[str, Any], before: dict[str, Any], others: Iterable[Any]) -> None:
    taken = {
        port["nodePort"]
        for one in others
        for port in (one.value.get("spec") or {}).get("ports") or ()
        if port.get("nodePort")
    }
    kept = {(port.get("port"), port.get("protocol")): port.get("nodePort") for port in before.get("ports") or ()}
    for index, port in enumerate(spec.get("ports") or ()):
        wanted = port.get("nodePort") or kept.get((port.get("port"), port.get("protocol")))
        if wanted is None:
            wanted = next((one for one in _NODE_PORTS if one not in taken), None)
        if wanted is None or wanted in taken or wanted not in _NODE_PORTS:
            field = f"spec.ports[{index}].nodePort"
            why = "provided port is already allocated" if wanted in taken else "no valid port in 30000-32767"
            raise ApiError(422, "Invalid", f"{field}: Invalid value: {wanted}: {why}", {})
        taken.add(wanted)
        port["nodePort"] = wanted


def pod_address(state: ClusterState) -> str:
    """An address that no pod of the cluster has."""
    return _first_free("10.42", {(one.value.get("status") or {}).get("podIP") for one in state.select(PODS.resource)})


def _first_free(prefix: str, taken: set[Any]) -> str:
    for high, low in itertools.product(range(256), range(1, 255)):
        address = f"{prefix}.{high}.{low}"
        if address not in taken:
            return address
    raise ApiError(500, "InternalError", f"every address of {prefix}.0.0/16 is taken")
