"""Handing what was seen to the kinds that keep it in records of their own (`kind.KeepsSeen`). Called by `record`."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import Connection

from reconciler.engine.runtime import Runtime
from reconciler.engine.status import Outcome
from reconciler.errors import ReconcilerError
from reconciler.kind import KeepsSeen
from reconciler.model.plan import Action
from reconciler.store.kind_records import KindRecords

log = logging.getLogger(__name__)


def keep_seen(runtime: Runtime, connection: Connection, outcomes: Iterable[Outcome]) -> None:
    """Let each kind write what was seen of its resources, in the transaction that stores the rest.

    One that cannot loses what it wrote for that resource, and nothing else.
    """
    keepers = runtime.kinds.offering(KeepsSeen)
    for outcome in outcomes if keepers else ():
        change, seen = outcome.change, outcome.seen
        if seen is None or change.ref.kind not in keepers or change.action is Action.DELETE:
            continue
        if not seen.is_known and not seen.facts:  # what says nothing of the state may have facts all the same
            continue
        records = KindRecords(runtime.database, runtime.tables.get(change.ref.kind, {}), None, connection)
        try:
            with connection.begin_nested():
                keepers[change.ref.kind].seen(records, change.resource, seen)
        except ReconcilerError as error:
            log.warning("%s: what was seen of it could not be kept: %s", change.ref, error)
