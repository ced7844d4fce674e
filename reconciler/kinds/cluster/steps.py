"""What each step of a cluster's change does. Listed and ordered in `plan_steps`; run by the engine, one after another.

Any step may have run before, in part or in whole, by a process that was killed: each looks before it acts. A step that
fails leaves the row `failed` with the reason, so that no row says `running` of a cluster that was not verified.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import (
    BlockedError,
    DeadlineError,
    LeaseHeldError,
    LeaseLostError,
    ReconcilerError,
    TransientError,
    UnreachableError,
    WaitingError,
)
from reconciler.kind import Context, Outputs
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.kubeconfigs import remove_file, write_file
from reconciler.kinds.cluster.looking import cluster_uid, ready_nodes
from reconciler.kinds.cluster.manifests import objects_of
from reconciler.kinds.cluster.providers import Found, Provider, provider_named
from reconciler.kinds.cluster.secret_values import revealed
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.kinds.cluster.states import State

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

_NOT_A_FAILURE = (LeaseLostError, LeaseHeldError, WaitingError, BlockedError)
_POLL = (0.05, 1.0)
_DELETE_TIMEOUT = 60.0
_TYPE_TIMEOUT = 30.0

StepFunction = Callable[[Context], Outputs | None]


def failing_into_the_row(function: StepFunction) -> StepFunction:
    """Whatever goes wrong in the step is written into the row before it is raised on."""

    @functools.wraps(function)
    def run(context: Context) -> Outputs | None:
        try:
            return function(context)
        except _NOT_A_FAILURE:
            raise
        except Exception as error:
            message = error.message if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
            rows.fail(context, _name(context), message)
            raise

    return run


def preflight(context: Context) -> Outputs | None:
    """Everything that is needed is there. Nothing is reserved yet, so nothing is marked as failed."""
    spec = _spec(context)
    provider_named(spec.provider).preflight(spec, context)
    return None


@failing_into_the_row
def reserve(context: Context) -> Outputs | None:
    """The row exists and says `creating`. An interrupted attempt is failed first, so that the log shows it."""
    spec = _spec(context)
    interrupted = rows.state_of(_row(context)) is State.CREATING
    if interrupted:
        context.log(f"{spec.name} was being created when its process ended; trying again\n")
    values = {
        **rows.columns_of(_wanted(context)),
        "provider": spec.provider,
        "version": spec.version,
        "servers": spec.servers,
        "agents": spec.agents,
        "desired_state": "present",
        "reconcile_error": None,
    }
    rows.advance(context, spec.name, State.CREATING, values, through=State.FAILED if interrupted else None)
    return None


@failing_into_the_row
def create(context: Context) -> Outputs | None:
    """Make the cluster unless it is there. What was made by a failed attempt of ours is deleted again."""
    spec = _spec(context)
    provider = provider_named(spec.provider)
    if _found(context, provider) is not None:
        context.log(f"{spec.name} exists already and is taken over\n")
        return {"existed": True}
    rows.change(context, spec.name, {"created_by_us": 1})
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
    spec = _spec(context)
    provider_named(spec.provider).start(spec, context)
    return None


@failing_into_the_row
def scale(context: Context) -> Outputs | None:
    """Bring it to its number of servers and agents."""
    spec = _spec(context)
    provider_named(spec.provider).scale(spec, context)
    return None


@failing_into_the_row
def kubeconfig(context: Context) -> Outputs | None:
    """Its kubeconfig lies where the row says. A given one is used where it is, and checked whenever it is read."""
    spec = _spec(context)
    provider = provider_named(spec.provider)
    if not provider.makes:
        assert spec.kubeconfig is not None
        path, chosen = spec.kubeconfig, spec.context
    else:
        found = _found(context, provider)
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
    spec = _spec(context)
    provider = provider_named(spec.provider)
    with _api(context) as api:

        def is_ready() -> str:
            try:
                return "" if api.ready() else f"{api.server} is not ready"
            except UnreachableError as error:
                found = _found(context, provider)
                if found is None or found.state == "stopped":
                    raise TransientError("Stopped", f"{spec.name} does not run any more: {error.message}") from error
                return error.message

        _wait(context, spec.create_timeout, "the API did not become ready", is_ready)
    return None


@failing_into_the_row
def manifests(context: Context) -> Outputs | None:
    """Apply every object of the spec, and delete what an earlier spec had and this one has not.

    An object stands in the inventory before it is applied and until it is seen to be gone, so that none is forgotten.
    """
    wanted: Mapping[str, Any] = _wanted(context)["manifests"]
    with_values = objects_of(_spec(context).manifests)
    inventory = rows.inventory_of(_row(context))
    with _api(context) as api:
        for number, (key, manifest) in enumerate(wanted.items(), 1):
            context.progress(100.0 * (number - 1) / len(wanted), key)
            place = inventory[key] = _place(context, api, manifest)
            rows.change(context, _name(context), rows.inventory_column(inventory))
            live = functools.partial(api.get, place)
            api.apply(revealed(manifest, with_values.get(key, {}), context.digest_of, live), force=True)
            context.log(f"applied {key}\n")
        kept = {inventory[key] for key in wanted}
        for key in [key for key in reversed(inventory) if key not in wanted]:
            place = inventory.pop(key)
            if place not in kept:  # else it is the same object, written differently
                _delete_object(context, api, place)
                context.log(f"deleted {key}, which the spec has no longer\n")
            rows.change(context, _name(context), rows.inventory_column(inventory))
    return {"applied": len(wanted)}


@failing_into_the_row
def wait_nodes(context: Context) -> Outputs | None:
    """Until enough nodes are ready, at most `ready.timeout`."""
    needed = _wanted(context).get("ready", {}).get("nodes", 0)
    if not needed:
        return {"ready": 0}
    with _api(context) as api:

        def are_ready() -> str:
            ready, waiting = ready_nodes(api)
            context.progress(100.0 * min(ready, needed) / needed, f"{ready} of {needed} nodes are ready")
            return "" if ready >= needed else f"{ready} of {needed} are ready; {'; '.join(waiting[:5])}"

        _wait(context, _spec(context).ready_timeout, "the nodes did not become ready", are_ready)
    return {"ready": needed}


@failing_into_the_row
def record(context: Context) -> Outputs | None:
    """Write down what is there now. Tried three times, because a cluster without its record is lost."""
    spec = _spec(context)
    found = _found(context, provider_named(spec.provider))
    if found is None:
        raise TransientError("Vanished", f"{spec.name} is gone")
    with _api(context) as api:
        server = api.server
    values = {
        **rows.columns_of(_wanted(context)),
        "provider": spec.provider,
        "version": found.version or spec.version,
        "servers": found.servers,
        "agents": found.agents,
        "server": server,
        "server_ip": _address(server),
        "desired_state": "present",
    }
    rows.write_surely(context, lambda: rows.change(context, spec.name, values))
    return {"server": server}


@failing_into_the_row
def verify(context: Context) -> Outputs | None:
    """Ask the API itself, and only then call the cluster running."""
    name = _name(context)
    needed = _wanted(context).get("ready", {}).get("nodes", 0)
    with _api(context) as api:
        uid = cluster_uid(api)
        ready, waiting = ready_nodes(api) if needed else (0, [])
    if ready < needed:
        raise TransientError("NotVerified", f"{ready} of {needed} nodes are ready: {'; '.join(waiting[:5])}")
    values = {"cluster_uid": uid, "last_reconciled_at": context.now(), "reconcile_error": None}
    rows.write_surely(context, lambda: rows.advance(context, name, State.RUNNING, values))
    return {"cluster_uid": uid}


def mark(context: Context) -> Outputs | None:
    """The row says `deleting`. A management cluster is not deleted as long as its record or its spec calls it one."""
    spec = _spec(context)
    row = _row(context)
    role = row["role"] if row is not None else spec.role
    if role == "management":
        advice = "set spec.role to business and apply that first"
        raise BlockedError("Protected", f"{spec.name} is a management cluster: {advice}")
    provider = row["provider"] if row is not None else spec.provider
    values = {"desired_state": "absent", "provider": provider, "reconcile_error": None}
    rows.advance(context, spec.name, State.DELETING, values)
    return None


@failing_into_the_row
def delete(context: Context) -> Outputs | None:
    """Delete the cluster and see that it is gone; its record stays until then."""
    name = _name(context)
    row = _row(context)
    provider = provider_named(row["provider"] if row is not None else _spec(context).provider)
    provider.delete(name, context)
    return None


@failing_into_the_row
def remove_kubeconfig(context: Context) -> Outputs | None:
    """Remove the kubeconfig that we wrote; one that was given to us is not ours."""
    remove_file(rows.kubeconfig_path(context.home, _name(context)))
    return None


def forget(context: Context) -> Outputs | None:
    """Delete the row, last of all."""
    context.records.delete(rows.TABLE, name=_name(context))
    return None


def _name(context: Context) -> str:
    assert context.resource is not None
    return context.resource.ref.name


def _spec(context: Context) -> ClusterSpec:
    assert context.resource is not None
    return ClusterSpec.of(context.resource)


def _wanted(context: Context) -> Mapping[str, Any]:
    """The desired state, with what `lifecycle.ignore` leaves to others as it was seen."""
    assert context.change is not None
    wanted: Mapping[str, Any] = context.change.after
    return wanted


def _row(context: Context) -> rows.Row | None:
    return rows.read(context.records, _name(context))


def _found(context: Context, provider: Provider) -> Found | None:
    return provider.look(_name(context), _row(context), context)


def _api(context: Context) -> KubeTransport:
    row = _row(context)
    assert row is not None
    return context.kube(*rows.kubeconfig_of(context.home, row))


def _clean_up(context: Context, provider: Provider) -> None:
    """Delete what the failed creation made. That it fails too must not hide why the creation did."""
    name = _name(context)
    try:
        provider.delete(name, context)
        context.log(f"deleted what the failed creation had made of {name}\n")
    except LeaseLostError:
        raise
    except ReconcilerError as error:
        context.log(f"what the failed creation had made of {name} could not be deleted: {error}\n")


def _wait(context: Context, timeout: float, what: str, look: Callable[[], str]) -> None:
    """Until `look` returns "". Raises DeadlineError with what it said last."""
    give_up = time.monotonic() + timeout
    pause, longest = _POLL
    while missing := look():
        if time.monotonic() >= give_up:
            raise DeadlineError("Deadline", f"{what} within {timeout:g} s: {missing}")
        context.sleep(min(pause, longest))
        pause *= 1.5


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

    _wait(context, _TYPE_TIMEOUT, "the type did not become known", is_known)
    return found[0]


def _delete_object(context: Context, api: KubeTransport, path: str) -> None:
    if api.delete(path):
        _wait(context, _DELETE_TIMEOUT, "it was not gone", lambda: "" if api.get(path) is None else f"{path} is there")


def _address(server: str) -> str | None:
    """The host of a server's URL if it is a number."""
    host = server.removeprefix("https://").partition("/")[0].rpartition(":")[0].strip("[]")
    is_address = all(part.isdigit() for part in host.split(".")) or ":" in host
    return host if is_address else None
