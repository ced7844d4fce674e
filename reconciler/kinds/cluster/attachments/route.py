"""A cluster's route in an HAProxy: `spec.route`. The editing, checking and loading is in `haproxy`.

What was noted of it (`made`): haproxy and file, where it was made; host and backend; loaded, the digest of its lines
when HAProxy was last seen to load them, "" from before the file is changed until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError, TransientError
from reconciler.kind import Context, Outputs, Step
from reconciler.kinds.cluster import made
from reconciler.kinds.cluster.attachments import Attachment, Held
from reconciler.kinds.cluster.changing import found_of, name_of, spec_of
from reconciler.kinds.cluster.haproxy.gateway import Gateway, gateway_of
from reconciler.kinds.cluster.haproxy.installing import install, read
from reconciler.kinds.cluster.haproxy.networks import attach, is_attached
from reconciler.kinds.cluster.haproxy.routes import NEVER_ROUTED, Configuration, Route
from reconciler.kinds.cluster.providers import Found, in_containers, provider_named
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.resource import Resource

FIELD = "route"
CURRENT = "current"


class RouteAttachment:
    """See `attachments.Attachment`."""

    field = FIELD
    rank = 50
    needs_cluster = True

    def __init__(self) -> None:
        self.ensure = Step("ensure-route", "Route to it in HAProxy", ensure, weight=5, preview="conditional")
        self.remove = Step("remove-route", "Remove its route from HAProxy", remove, weight=5)

    def wanted(self, resource: Resource) -> Any:
        """Its lines, its backend and what HAProxy runs with are current; host and HAProxy where the spec names them."""
        asked = resource.spec.get(FIELD, {"enabled": False})
        spec = ClusterSpec.of(resource)
        if not asked.get("enabled", True) or spec.role == "management" or spec.name in NEVER_ROUTED:
            return None
        if not in_containers(provider_named(spec.provider)) and "httpPort" not in spec.ports:
            message = (
                f"a route to a cluster of provider {spec.provider} leads to a port of this host: set ports.httpPort"
            )
            raise SpecError("NoPort", message)
        named = {field: value for field, value in asked.items() if field != "enabled"}
        return {"lines": CURRENT, "backend": CURRENT, "loaded": True, **named}

    def look(self, held: Held, context: Context) -> Any:
        """What the file says of it now, and whether HAProxy runs with that."""
        wanted = self.wanted(held.resource)
        if wanted is None:
            return _left(held, context)
        gateway = gateway_of(context.settings, wanted.get("haproxy", ""))
        configuration = read(gateway)
        name = held.spec.name
        if name not in configuration.names() and held.made is None:
            return None
        known = held.made or {}
        route = _route(held.spec, held.found, gateway, wanted)
        backend, digest = configuration.backend_of(name), configuration.digest_of(name)
        seen = {
            "lines": configuration.fault_of(_with_backend(route, backend)) or CURRENT,
            "backend": CURRENT if backend == route.backend else backend or "none",
            "loaded": bool(digest) and known.get("loaded") == digest,
            "haproxy": known.get("haproxy", ""),
            "host": known.get("host", ""),
        }
        network = _network(held.found, gateway)
        if seen["backend"] == CURRENT and network and not is_attached(gateway.container, network, context):
            seen["backend"] = f"{backend}, and {gateway.container} is not in network {network}"
        return {field: value for field, value in seen.items() if field in wanted}


def ensure(context: Context) -> Outputs | None:
    """The route is in the file as it should be, HAProxy has loaded it, and its container reaches the cluster."""
    spec, name = spec_of(context), name_of(context)
    found = found_of(context, provider_named(spec.provider))
    if found is None:
        raise TransientError("Vanished", f"{name} is gone")
    assert context.resource is not None
    asked: Mapping[str, Any] = context.resource.spec.get(FIELD, {})
    gateway = gateway_of(context.settings, asked.get("haproxy", ""))
    route = _route(spec, found, gateway, asked)
    _leave_other_file(context, name, gateway)
    network = _network(found, gateway)
    if network and attach(gateway.container, network, context):
        context.log(f"connected {gateway.container} to {network}\n")
    known = made.read(context.records, name, FIELD) or {}
    new = {"haproxy": gateway.name, "file": str(gateway.file), "host": route.host, "backend": route.backend}

    def is_loaded(configuration: Configuration) -> bool:
        return known.get("loaded") == configuration.digest_of(name)

    def note(loaded: str = "") -> None:
        made.note(context, name, FIELD, {**new, "loaded": loaded})

    installed = install(gateway, context, lambda before: before.with_route(route), is_loaded, note)
    note(installed.digest_of(name))
    context.log(f"*.{route.host} is routed to {route.backend} by {gateway.file}\n")
    return {"host": route.host, "backend": route.backend}


def remove(context: Context) -> Outputs | None:
    """The route is out of the file, and HAProxy runs without it."""
    name = name_of(context)
    known = made.read(context.records, name, FIELD)
    if known is not None:
        _remove(context, name, known)
        made.forget(context, name, FIELD)
    return None


def _remove(context: Context, name: str, known: Mapping[str, Any]) -> None:
    """Raises TransientError when it is there, and the settings do not say any more how that HAProxy is reached."""
    gateway = _gateway_of(known, context)
    file = Path(known["file"])
    if not file.exists():
        context.log(f"{file} is gone, and with it the route of {name}\n")
        return
    if gateway.file != file:
        if name not in read(replace(gateway, file=file)).names():
            context.log(f"{file} has no route of {name} any more\n")
            return
        message = f"{file} has a route of {name}, and no HAProxy of the settings has that file: take it out there"
        raise TransientError("AnotherFile", message)

    def note() -> None:
        made.note(context, name, FIELD, {**known, "loaded": ""})

    install(gateway, context, lambda before: before.without([name]), lambda _: False, note)


def _gateway_of(known: Mapping[str, Any], context: Context) -> Gateway:
    """The HAProxy that a route was made in; another one when the settings have it no more."""
    try:
        return gateway_of(context.settings, known["haproxy"])
    except SpecError:
        return gateway_of(context.settings)


def _leave_other_file(context: Context, name: str, gateway: Gateway) -> None:
    """A route that was made in another file goes from there first."""
    known = made.read(context.records, name, FIELD)
    if known is not None and known["file"] != str(gateway.file):
        _remove(context, name, known)


def _left(held: Held, context: Context) -> Any:
    """What is left of a route that no spec asks for; None for nothing."""
    assert held.made is not None, "else nobody looks"
    gateway = _gateway_of(held.made, context)
    if str(gateway.file) != held.made["file"] or not gateway.file.exists():
        return dict(held.made)
    backend = read(gateway).backend_of(held.spec.name)
    return {"lines": "there", "backend": backend} if backend else None


def _route(spec: ClusterSpec, found: Found, gateway: Gateway, asked: Mapping[str, Any]) -> Route:
    """The route that a cluster should have, from what is there of it now. Raises TransientError without an address."""
    host = gateway.host_of(spec.name, asked.get("host", ""))
    container = found.container
    if container is None:
        return Route(spec.name, host, f"{gateway.host_address}:{spec.ports['httpPort']}")
    if not container.address:
        raise TransientError("NoAddress", f"the node of {spec.name} has no address that a route could lead to")
    return Route(spec.name, host, f"{container.address}:{spec.ports.get('nodePort', gateway.node_port)}")


def _with_backend(route: Route, backend: str) -> Route:
    return Route(route.name, route.host, backend or route.backend)


def _network(found: Found, gateway: Gateway) -> str:
    """The network that HAProxy's container has to be in; "" for none."""
    return found.container.network if gateway.container and found.container is not None else ""


ATTACHMENT: Attachment = RouteAttachment()
