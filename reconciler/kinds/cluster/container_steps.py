"""Steps that only clusters have whose nodes are containers: network, node address, limits, images. See `plan_steps`."""

from __future__ import annotations

import time

from reconciler.errors import TransientError
from reconciler.kind import Context, Outputs
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.changing import failing_into_the_row, found_of, spec_of
from reconciler.kinds.cluster.looking import NO_ADDRESS
from reconciler.kinds.cluster.providers import ContainerProvider, in_containers, provider_named
from reconciler.kinds.cluster.providers.docker import Tools
from reconciler.model.duration import parse_duration

ADDRESS_TIMEOUT = 60.0
ADDRESS_INTERVAL = 2.0


@failing_into_the_row
def discard(context: Context) -> Outputs | None:
    """Delete what our own interrupted creation left; it never ran, so it holds nothing."""
    found = found_of(context, _provider(context))
    if found is not None and found.state != "unfinished":
        raise TransientError("Moved", f"{spec_of(context).name} is not half made any more; it stays")
    _provider(context).delete(spec_of(context).name, context)
    return None


@failing_into_the_row
def network(context: Context) -> Outputs | None:
    """The network for the nodes is there; a subnet of its own is claimed first."""
    _provider(context).ensure_network(spec_of(context), context)
    return None


@failing_into_the_row
def address(context: Context) -> Outputs | None:
    """Record the first server's address on the cluster's own network, waiting for it a while.

    Without one the cluster can be used all the same, from this host: an alarm says so, and the row stays without.
    """
    spec = spec_of(context)
    timeout, interval = _pace(context)
    give_up = time.monotonic() + timeout
    while True:
        found = found_of(context, _provider(context))
        if found is None or found.container is None or found.state != "running":
            raise TransientError("Stopped", f"{spec.name} does not run any more")
        if found.container.address or time.monotonic() + interval > give_up:
            break
        context.progress(100.0 * (1 - (give_up - time.monotonic()) / timeout), "waiting for an address")
        context.sleep(interval)
    seen = found.container.address
    rows.change(context, spec.name, {"server_ip": seen})
    if seen is None:
        context.alarm("NoAddress", f"{spec.name}: {NO_ADDRESS}; waited {timeout:g} s")
        context.log(f"{NO_ADDRESS}, waited {timeout:g} s\n")
    return {"address": seen}


@failing_into_the_row
def limits(context: Context) -> Outputs | None:
    """What the nodes may use at most."""
    spec = spec_of(context)
    Tools(context, "docker").limit(_provider(context).nodes_of(spec), spec.cpus, spec.memory)
    return None


@failing_into_the_row
def preload(context: Context) -> Outputs | None:
    """The images are in the nodes."""
    spec = spec_of(context)
    _provider(context).load_images(spec.name, spec.preload_images, context)
    return {"images": list(spec.preload_images)}


def _provider(context: Context) -> ContainerProvider:
    provider = provider_named(spec_of(context).provider)
    assert in_containers(provider), "these steps are planned for no others"
    return provider


def _pace(context: Context) -> tuple[float, float]:
    """How long to wait for an address and how often to look, in seconds: the kind's settings, or their defaults."""
    settings = context.settings
    timeout = parse_duration(settings["addressTimeout"]) if "addressTimeout" in settings else ADDRESS_TIMEOUT
    interval = parse_duration(settings["addressInterval"]) if "addressInterval" in settings else ADDRESS_INTERVAL
    return timeout, interval
