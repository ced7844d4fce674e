"""What each step of a cluster's change does. Listed and ordered in `plan_steps`; run by the engine, one after another.

Any step may have run before, in part or in whole, by a process that was killed: each looks before it acts. A step that
fails leaves the row `failed` with the reason, so that no row says `running` of a cluster that was not verified.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import (
    BlockedError,
    LeaseLostError,
    ReconcilerError,
    TransientError,
    UnreachableError,
    WaitingError,
)
from reconciler.kind import Context, Outputs
from reconciler.kinds.cluster import reserving, rows
from reconciler.kinds.cluster.changing import (
    api_of,
    failing_into_the_row,
    found_of,
    name_of,
    row_of,
    spec_of,
    wait_until,
    wanted_of,
)
from reconciler.kinds.cluster.kubeconfigs import remove_file, write_file
from reconciler.kinds.cluster.looking import NO_ADDRESS, cluster_uid, ready_nodes
from reconciler.kinds.cluster.manifests import objects_of, stages_of
from reconciler.kinds.cluster.providers import Provider, in_containers, provider_named
from reconciler.kinds.cluster.states import State
from reconciler.model.plan import Action
from reconciler.planning.secret_values import revealed

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

_DELETE_TIMEOUT = 60.0
_STOP_TIMEOUT = 30.0
_TYPE_TIMEOUT = 30.0
_BATCH = 100


def preflight(context: Context) -> Outputs | None:
    """Everything that is needed is there. Nothing is reserved yet, so nothing is marked as failed."""
    spec = spec_of(context)
    reserving.check(context)  # before any external command
    provider_named(spec.provider).preflight(spec, context)
    return None


@failing_into_the_row
def create(context: Context) -> Outputs | None:
    """Make the cluster unless it is there. What was made by a failed attempt of ours is deleted again."""
    spec = spec_of(context)
    provider = provider_named(spec.provider)
    found = found_of(context, provider)
    if found is not None and found.state == "unfinished":
        raise TransientError("Unfinished", f"{spec.name} was left half made meanwhile")
    if found is not None:
        context.log(f"{spec.name} exists already and is taken over\n")
        return {"existed": True}
    rows.change(context, spec.name, {"created_by_us": 1, "cluster_uid": ""})
    try:
        provider.create(spec, context)
    except (LeaseLostError, WaitingError):
        raise
    except Exception:
        _clean_up(context, provider)
        raise
    return {"existed": False}


@failing_into_the_row
def start(context: Context) -> Outputs | None:
    """Start the stopped cluster."""
    spec = spec_of(context)
    provider_named(spec.provider).start(spec, context)
    return None


@failing_into_the_row
def stop(context: Context) -> Outputs | None:
    """Stop the cluster, see that it stands still, and only then call it stopped."""
    spec = spec_of(context)
    provider = provider_named(spec.provider)
    provider.stop(spec, context)

    def stands() -> str:
        found = found_of(context, provider)
        if found is None:
            raise TransientError("Vanished", f"{spec.name} is gone")
        return "it still runs" if found.state == "running" else ""

    wait_until(context, _STOP_TIMEOUT, f"{spec.name} did not stop", stands)
    values = {"last_reconciled_at": context.now(), "reconcile_error": None}
    rows.write_surely(context, lambda: rows.advance(context, spec.name, State.STOPPED, values))
    return None


@failing_into_the_row
def scale(context: Context) -> Outputs | None:
    """Bring it to its number of servers and agents."""
    spec = spec_of(context)
    provider_named(spec.provider).scale(spec, context)
    return None


@failing_into_the_row
def kubeconfig(context: Context) -> Outputs | None:
    """Its kubeconfig lies where the row says. A given one is used where it is, and checked whenever it is read."""
    spec = spec_of(context)
    provider = provider_named(spec.provider)
    if not provider.makes:
        assert spec.kubeconfig is not None
        path, chosen = spec.kubeconfig, spec.context
    else:
        found = found_of(context, provider)
        if found is None or found.kubeconfig is None:
            raise TransientError("NoKubeconfig", f"provider {provider.name} gives no kubeconfig for {spec.name}")
        path, chosen = rows.kubeconfig_path(context.home, spec.name), ""
        write_file(path, found.kubeconfig)
    values = {"kubeconfig": str(path), "context": chosen}
    rows.change(context, spec.name, {**values, "provider": spec.provider})
    return values


@failing_into_the_row
def wait_api(context: Context) -> Outputs | None:
    """Until /readyz says so, at most `createTimeout`. A cluster that stops meanwhile is not waited for."""
    spec = spec_of(context)
    provider = provider_named(spec.provider)
    with api_of(context) as api:

        def is_ready() -> str:
            try:
                return "" if api.ready() else f"{api.server} is not ready"
            except UnreachableError as error:
                found = found_of(context, provider)
                if found is None or found.state != "running":
                    raise TransientError("Stopped", f"{spec.name} does not run any more: {error.message}") from error
                return error.message

        wait_until(context, spec.create_timeout, "the API did not become ready", is_ready)
    return None


@failing_into_the_row
def manifests(context: Context) -> Outputs | None:
    """Apply every object of the spec, and delete what an earlier spec had and this one has not.

    An object stands in the inventory before it is applied and until it is seen to be gone, so that none is forgotten.
    """
    wanted: Mapping[str, Any] = wanted_of(context)["manifests"]
    inventory = rows.inventory_of(row_of(context))
    values = objects_of(spec_of(context).manifests)
    with api_of(context) as api:

        def apply(key: str) -> None:
            live = functools.partial(api.get, inventory[key])
            api.apply(revealed(wanted[key], values.get(key, {}), context.digest_of, live), force=True)

        applied = 0
        for stage in stages_of(wanted):
            inventory.update({key: _place(context, api, manifest) for key, manifest in stage.items()})
            rows.change(context, name_of(context), rows.inventory_column(inventory))
            for key in _told(context, apply, stage):
                applied += 1
                context.progress(100.0 * applied / len(wanted), key)
        kept = {inventory[key] for key in wanted}
        for key in [key for key in reversed(inventory) if key not in wanted]:
            place = inventory.pop(key)
            if place not in kept:  # else it is the same object, written differently
                _delete_object(context, api, place)
                context.log(f"deleted {key}, which the spec has no longer\n")
            rows.change(context, name_of(context), rows.inventory_column(inventory))
    return {"applied": len(wanted)}


def _told(context: Context, apply: Callable[[str], None], keys: Iterable[str]) -> Iterator[str]:
    """Apply objects side by side; the key of each once it is done. Logged in batches, because each is a write."""
    from reconciler.transports.kube_objects import side_by_side  # noqa: PLC0415 - as in `looking`

    said: list[str] = []
    try:
        for key, _ in side_by_side(apply, keys):
            said.append(f"applied {key}\n")
            if len(said) >= _BATCH:
                context.log("".join(said))
                said.clear()
            yield key
    finally:
        context.log("".join(said))


@failing_into_the_row
def wait_nodes(context: Context) -> Outputs | None:
    """Until enough nodes are ready, at most `ready.timeout`."""
    needed = wanted_of(context).get("ready", {}).get("nodes", 0)
    if not needed:
        return {"ready": 0}
    with api_of(context) as api:

        def are_ready() -> str:
            ready, waiting = ready_nodes(api)
            context.progress(100.0 * min(ready, needed) / needed, f"{ready} of {needed} nodes are ready")
            return "" if ready >= needed else f"{ready} of {needed} are ready; {'; '.join(waiting[:5])}"

        wait_until(context, spec_of(context).ready_timeout, "the nodes did not become ready", are_ready)
    return {"ready": needed}


@failing_into_the_row
def record(context: Context) -> Outputs | None:
    """Write down what is there now. Tried three times, because a cluster without its record is lost."""
    spec = spec_of(context)
    provider = provider_named(spec.provider)
    found = found_of(context, provider)
    if found is None:
        raise TransientError("Vanished", f"{spec.name} is gone")
    if found.state != "running":  # nothing else can be seen of it now
        values = rows.wish_of(context)
        rows.write_surely(context, lambda: rows.change(context, spec.name, values))
        return None
    server = found.server if provider.makes else _server(context)
    values = {
        **rows.wish_of(context),
        **rows.made_ports(row_of(context)),
        "provider": spec.provider,
        "version": found.version or spec.version,
        "servers": found.servers,
        "agents": found.agents,
        "server": server,
    }
    if not in_containers(provider):  # whose nodes have addresses of their own, recorded when they were seen
        values["server_ip"] = _address(server)
    rows.write_surely(context, lambda: rows.change(context, spec.name, values))
    return {"server": server}


@failing_into_the_row
def verify(context: Context) -> Outputs | None:
    """Ask the API itself, and only then call the cluster running."""
    name = name_of(context)
    needed = wanted_of(context).get("ready", {}).get("nodes", 0)
    with api_of(context) as api:
        uid = cluster_uid(api)
        ready, waiting = ready_nodes(api) if needed else (0, [])
    if ready < needed:
        raise TransientError("NotVerified", f"{ready} of {needed} nodes are ready: {'; '.join(waiting[:5])}")
    values = {"cluster_uid": uid, "last_reconciled_at": context.now(), "reconcile_error": _note(context)}
    rows.write_surely(context, lambda: rows.advance(context, name, State.RUNNING, values))
    return {"cluster_uid": uid}


def _note(context: Context) -> str | None:
    """What people must know of a cluster that runs all the same."""
    row = row_of(context)
    provider = provider_named(spec_of(context).provider)
    return NO_ADDRESS if in_containers(provider) and row is not None and not row["server_ip"] else None


def mark(context: Context) -> Outputs | None:
    """The row says `deleting`. A management cluster is not deleted as long as its record or its spec calls it one."""
    spec = spec_of(context)
    row = row_of(context)
    role = row["role"] if row is not None else spec.role
    if role == "management":
        advice = "set spec.role to business and apply that first"
        raise BlockedError("Protected", f"{spec.name} is a management cluster: {advice}")
    provider = row["provider"] if row is not None else spec.provider
    assert context.change is not None
    wish = {"desired_state": "absent"} if context.change.action is Action.DELETE else {}
    values = {**wish, "provider": provider, "reconcile_error": None}
    rows.advance(context, spec.name, State.DELETING, values)
    return None


@failing_into_the_row
def delete(context: Context) -> Outputs | None:
    """Delete the cluster and see that it is gone; its record stays until then."""
    name = name_of(context)
    row = row_of(context)
    provider = provider_named(row["provider"] if row is not None else spec_of(context).provider)
    provider.delete(name, context)
    return None


@failing_into_the_row
def remove_kubeconfig(context: Context) -> Outputs | None:
    """Remove the kubeconfig that we wrote; one that was given to us is not ours."""
    remove_file(rows.kubeconfig_path(context.home, name_of(context)))
    return None


def _clean_up(context: Context, provider: Provider) -> None:
    """Delete what the failed creation made. That it fails too must not hide why the creation did."""
    name = name_of(context)
    try:
        provider.delete(name, context)
        context.log(f"deleted what the failed creation had made of {name}\n")
    except LeaseLostError:
        raise
    except ReconcilerError as error:
        context.log(f"what the failed creation had made of {name} could not be deleted: {error}\n")


def _place(context: Context, api: KubeTransport, manifest: Mapping[str, Any]) -> str:
    """Where an object will be. A type that a CRD just defined takes a moment to be known."""
    metadata = manifest["metadata"]
    found: list[str] = []

    def is_known() -> str:
        try:
            kind, scope = manifest["kind"], metadata.get("namespace", "")
            found.append(api.resource_path(manifest["apiVersion"], kind, scope, metadata["name"]))
        except UnreachableError:
            raise
        except TransientError as error:
            return error.message
        return ""

    wait_until(context, _TYPE_TIMEOUT, "the type did not become known", is_known)
    return found[0]


def _delete_object(context: Context, api: KubeTransport, path: str) -> None:
    if api.delete(path):
        wait_until(
            context, _DELETE_TIMEOUT, "it was not gone", lambda: "" if api.get(path) is None else f"{path} is there"
        )


def _server(context: Context) -> str:
    with api_of(context) as api:
        return api.server


def _address(server: str) -> str | None:
    """The host of a server's URL if it is a number."""
    host = server.removeprefix("https://").partition("/")[0].rpartition(":")[0].strip("[]")
    is_address = all(part.isdigit() for part in host.split(".")) or ":" in host
    return host if is_address else None
