"""A cluster's registration with Argo CD: `spec.argocd`. The objects and the Secret are in the package `argocd`.

What was noted of it (`made`): cluster and namespace of the Secret, written before anything is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import BlockedError, TransientError, UnreachableError
from reconciler.kind import Context, Outputs, Step
from reconciler.kinds.cluster import made, rows
from reconciler.kinds.cluster.argocd import account
from reconciler.kinds.cluster.argocd.place import MANAGEMENT, Clusters, Place, made_place, shown_name, wanted_place
from reconciler.kinds.cluster.argocd.registration import Registration, registration_of, secret_path, value_in
from reconciler.kinds.cluster.attachments import Attachment, Held
from reconciler.kinds.cluster.changing import api_of, name_of, spec_of
from reconciler.kinds.cluster.providers import provider_named
from reconciler.kinds.cluster.states import State
from reconciler.model.marks import owner_of
from reconciler.model.plan import Action
from reconciler.model.resource import Resource, ResourceRef

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

FIELD = "argocd"
CURRENT = "current"
_MANAGEMENT_TIMEOUT = 120.0
"""How long a registration waits for a management cluster that is just being created, in seconds."""
_POLL = 0.5
_GONE_TIMEOUT = 30.0


class ArgoRegistration:
    """See `attachments.Attachment`."""

    field = FIELD
    rank = 70
    needs_cluster = True

    def __init__(self) -> None:
        self.ensure = Step("register", "Register it with Argo CD", ensure, weight=6)
        self.remove = Step("unregister", "Remove its registration with Argo CD", remove, weight=6)

    def wanted(self, resource: Resource) -> Any:
        """Where, and that account and Secret are current; what those hold is known only when they are looked at."""
        asked = _asked(resource)
        if asked is None:
            return None
        place = {"cluster": asked.get("cluster", MANAGEMENT), "namespace": asked.get("namespace", "argocd")}
        return {**place, "account": CURRENT, "secret": CURRENT}

    def look(self, held: Held, context: Context) -> Any:
        """The same: `current`, or in words what is different. A token is compared and never shown."""
        clusters = context.clusters()
        asked = _asked(held.resource)
        if asked is None:
            assert held.made is not None, "else nobody looks"
            return _left(held.spec.name, made_place(held.made), context, clusters)
        at = _present_place(asked, held.made, clusters)
        if at is None or held.row is None:
            return None
        ref = held.resource.ref
        with context.kube(*rows.kubeconfig_of(context.home, held.row)) as api:
            faults, token = account.faults(api, ref), account.token_of(api)
            address = (api.server, api.trust())
        with context.cluster(at.cluster) as management:
            live = management.get(secret_path(at, ref.name))
        secret = ["there is no token"]
        if token is not None:
            secret = registration_of(held.spec, asked, at, address, token).faults(live)
        seen = {"cluster": shown_name(asked, at, clusters), "namespace": at.namespace}
        return {**seen, "account": "; ".join(faults) or CURRENT, "secret": "; ".join(secret) or CURRENT}


def ensure(context: Context) -> Outputs | None:
    """The account is in the cluster, and the Secret with its token is where Argo CD runs and was read back."""
    assert context.resource is not None
    ref, spec = context.resource.ref, spec_of(context)
    asked = _asked(context.resource) or {}
    at = _awaited_place(asked, context)
    _leave_other_place(context, at)
    made.note(context, ref.name, FIELD, at._asdict())
    with api_of(context) as api:
        token = account.ensure(api, ref, context)
        registration = registration_of(spec, asked, at, (api.server, api.trust()), token)
    with context.cluster(at.cluster) as management:
        _write(management, registration, ref)
    context.log(f"registered as {registration.server} in {at.cluster}, namespace {at.namespace}\n")
    return {**at._asdict(), "server": registration.server}


def remove(context: Context) -> Outputs | None:
    """The Secret is gone, then the account. A cluster that is deleted or cannot be reached any more keeps its account:
    without the Secret nobody uses it.
    """
    assert context.change is not None
    name = name_of(context)
    known = made.read(context.records, name, FIELD)
    if known is None:
        return None
    _remove_secret(context, name, made_place(known))
    is_deletion = context.change.action in (Action.DELETE, Action.REPLACE)
    if not (is_deletion and provider_named(spec_of(context).provider).makes):
        try:
            with api_of(context) as api:
                account.remove(api, ResourceRef("Cluster", name), context)
        except UnreachableError as error:
            if not is_deletion:
                raise
            left = f"{name} cannot be reached, so {account.NAMESPACE}/{account.ACCOUNT} is left in it: {error.message}"
            context.log(f"{left}\n")
            context.alarm("AccountLeft", left)
    made.forget(context, name, FIELD)
    return None


def _asked(resource: Resource) -> Mapping[str, Any] | None:
    """What the spec asks for, None for nothing. A management cluster is registered only where it says so."""
    asked: Mapping[str, Any] | None = resource.spec.get(FIELD)
    is_meant = asked is not None and (resource.spec.get("role") != "management" or asked.get("management", False))
    return asked if is_meant else None


def _write(management: KubeTransport, registration: Registration, ref: ResourceRef) -> None:
    """Apply the Secret and read it back. Raises BlockedError when another cluster is registered under this name."""
    path = secret_path(registration.at, ref.name)
    live = management.get(path)
    if live is not None and owner_of(live["metadata"].get("labels") or {}) != ref:
        other = value_in(live, "server")
        if other != registration.server:
            message = f"{path} is not ours and registers {other or 'nothing'}: delete it, or give the cluster that name"
            raise BlockedError("SecretTaken", message)
    management.apply(registration.manifest(live), force=True)
    if left := registration.faults(management.get(path)):
        raise TransientError("NotRegistered", f"{path} was applied, and yet {'; '.join(left)}")


def _present_place(asked: Mapping[str, Any], known: Mapping[str, Any] | None, clusters: Clusters) -> Place | None:
    """Where it is, as long as that cluster is recorded, else where the spec wants it."""
    if known is not None and known["cluster"] in clusters:
        return made_place(known)
    return wanted_place(asked, clusters)


def _awaited_place(asked: Mapping[str, Any], context: Context) -> Place:
    """Where the spec wants it. A cluster that is just being created there is waited for."""
    give_up = time.monotonic() + _MANAGEMENT_TIMEOUT
    while True:
        clusters = context.clusters()
        at = wanted_place(asked, clusters)
        if at is None:
            named = asked.get("cluster", "with role management")
            raise TransientError("NoManagementCluster", f"no cluster {named} is recorded to register it in")
        known = clusters[at.cluster]
        if known.was_verified or at.cluster == name_of(context):
            return at
        if known.state != State.CREATING or time.monotonic() >= give_up:
            raise TransientError("ManagementNotReady", f"Cluster/{at.cluster} was never seen to work yet")
        context.sleep(_POLL)


def _leave_other_place(context: Context, at: Place) -> None:
    """A Secret that was put somewhere else goes from there first."""
    known = made.read(context.records, name_of(context), FIELD)
    if known is not None and made_place(known) != at:
        _remove_secret(context, name_of(context), made_place(known))


def _remove_secret(context: Context, name: str, at: Place) -> None:
    if at.cluster not in context.clusters():
        context.log(f"{at.cluster} is not recorded any more, and with it the registration of {name}\n")
        return
    path, ref = secret_path(at, name), ResourceRef("Cluster", name)
    with context.cluster(at.cluster) as management:
        live = management.get(path)
        if live is None:
            return
        if owner_of(live["metadata"].get("labels") or {}) != ref:
            context.log(f"{path} in {at.cluster} is not ours and stays\n")
            return
        management.delete(path)
        give_up = time.monotonic() + _GONE_TIMEOUT
        while management.get(path) is not None:
            if time.monotonic() >= give_up:
                raise TransientError("NotRemoved", f"{path} is still there after {_GONE_TIMEOUT:g} s")
            context.sleep(_POLL)
    context.log(f"removed {path} from {at.cluster}\n")


def _left(name: str, at: Place, context: Context, clusters: Clusters) -> Any:
    """What is left of a registration that no spec asks for; None for nothing."""
    if at.cluster not in clusters:
        return None
    with context.cluster(at.cluster) as management:
        live = management.get(secret_path(at, name))
    is_ours = live is not None and owner_of(live["metadata"].get("labels") or {}) == ResourceRef("Cluster", name)
    return {**at._asdict(), "secret": "there"} if is_ours else None


ATTACHMENT: Attachment = ArgoRegistration()
