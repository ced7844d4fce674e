"""Changing an HAProxy's file, from the lock to the new worker. Called by `attachments.route` and `listing`.

    lock → what a killed one left → read → change → check → note → keep the previous → replace → reload, and see it

Where HAProxy does not take the new file, the previous one is put back and loaded again. Whoever calls notes that the
file is about to change, and afterwards what was loaded, so that a change that was installed and not loaded, because its
process was killed, is found by the next look.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.errors import LeaseLostError, ReconcilerError, TransientError, WaitingError
from reconciler.kind import Context
from reconciler.kinds.cluster.haproxy.checking import check
from reconciler.kinds.cluster.haproxy.gateway import Gateway
from reconciler.kinds.cluster.haproxy.locking import locked
from reconciler.kinds.cluster.haproxy.networks import is_mounted
from reconciler.kinds.cluster.haproxy.reloading import check_runs, reload
from reconciler.kinds.cluster.haproxy.replacing import Replaced
from reconciler.kinds.cluster.haproxy.routes import Configuration


def read(gateway: Gateway) -> Configuration:
    """The file as it is, without waiting for anybody. Raises TransientError for one that is damaged or not there."""
    return _parsed(gateway, Replaced(gateway.file))


def install(
    gateway: Gateway,
    context: Context,
    change: Callable[[Configuration], Configuration],
    is_loaded: Callable[[Configuration], bool],
    note: Callable[[], None],
) -> Configuration:
    """Make the file what `change` makes of it, and have it loaded; the file as it is then.

    is_loaded: whether HAProxy is known to have the result already where nothing had to be changed. note: called before
    the file is. Raises ReconcilerError, with the file as it was, when HAProxy does not take it.
    """
    with locked(gateway.file, context, gateway.timeout):
        replaced = Replaced(gateway.file, in_place=_in_place(gateway, context))
        replaced.recover()
        before = _parsed(gateway, replaced)
        after = change(before)
        is_changed = after.content != before.content
        if not is_changed and is_loaded(after):
            return after
        check_runs(gateway, context)
        candidate = replaced.propose(after.content)
        try:
            check(gateway, candidate, after.content, context)
        except ReconcilerError:
            replaced.withdraw()
            raise
        if is_changed:
            note()
            replaced.keep()
            replaced.install()
        else:
            replaced.withdraw()
        try:
            reload(gateway, context)
        except (LeaseLostError, WaitingError):
            raise  # somebody else goes on, and finds that it is not loaded
        except ReconcilerError as error:
            if is_changed:
                _put_back(replaced, before, gateway, context)
                raise TransientError(error.reason, f"{error.message}\nThe previous file was put back.") from error
            raise
        return after


def _put_back(replaced: Replaced, before: Configuration, gateway: Gateway, context: Context) -> None:
    replaced.propose(before.content)
    replaced.install()
    try:
        reload(gateway, context)
    except LeaseLostError:
        raise
    except ReconcilerError as error:
        context.log(f"the previous file was put back and could not be loaded: {error.message}\n")


def _parsed(gateway: Gateway, replaced: Replaced) -> Configuration:
    return Configuration.parse(replaced.read(), str(gateway.file), gateway.frontends)


def _in_place(gateway: Gateway, context: Context) -> bool:
    """Whether the file has to be written over, because a container has just this file and not its folder."""
    if gateway.in_place is not None:
        return gateway.in_place
    return bool(gateway.container) and is_mounted(gateway.container, str(gateway.file), context)
