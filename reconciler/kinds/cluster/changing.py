"""What the steps of a change share: the cluster they are about, looking at it, waiting, failing into its row.

Called by every module with steps.
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
    WaitingError,
)
from reconciler.kind import Context, Outputs
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.providers import Found, Provider
from reconciler.kinds.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

NOT_A_FAILURE = (LeaseLostError, LeaseHeldError, WaitingError, BlockedError)
_POLL = (0.05, 1.0)

StepFunction = Callable[[Context], Outputs | None]


def failing_into_the_row(function: StepFunction) -> StepFunction:
    """Whatever goes wrong in the step is written into the row before it is raised on."""

    @functools.wraps(function)
    def run(context: Context) -> Outputs | None:
        try:
            return function(context)
        except NOT_A_FAILURE:
            raise
        except Exception as error:
            message = error.message if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
            rows.fail(context, name_of(context), message)
            raise

    return run


def name_of(context: Context) -> str:
    """The cluster's name."""
    assert context.resource is not None
    return context.resource.ref.name


def spec_of(context: Context) -> ClusterSpec:
    """Its desired state, typed."""
    assert context.resource is not None
    return ClusterSpec.of(context.resource)


def wanted_of(context: Context) -> Mapping[str, Any]:
    """The desired state, with what `lifecycle.ignore` leaves to others as it was seen."""
    assert context.change is not None
    wanted: Mapping[str, Any] = context.change.after
    return wanted


def row_of(context: Context) -> rows.Row | None:
    """Its row as it is now."""
    return rows.read(context.records, name_of(context))


def found_of(context: Context, provider: Provider) -> Found | None:
    """What its provider sees of it now."""
    return provider.look(name_of(context), row_of(context), context)


def api_of(context: Context) -> KubeTransport:
    """Its API, through the kubeconfig that the row names."""
    row = row_of(context)
    assert row is not None
    return context.kube(*rows.kubeconfig_of(context.home, row))


def wait_until(context: Context, timeout: float, what: str, look: Callable[[], str]) -> None:
    """Until `look` returns "". Raises DeadlineError with what it said last."""
    give_up = time.monotonic() + timeout
    pause, longest = _POLL
    while missing := look():
        if time.monotonic() >= give_up:
            raise DeadlineError("Deadline", f"{what} within {timeout:g} s: {missing}")
        context.sleep(min(pause, longest))
        pause *= 1.5
