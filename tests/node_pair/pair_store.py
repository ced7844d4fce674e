"""A store with the rows of a pair, without any node: a real SQLite file under the lease of `NodePair/shop`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text

import reconciler.kinds.node_pair as kind
from reconciler.kinds.node_pair.rows import PairRows
from reconciler.kinds.node_pair.spec import NodePairSpec
from reconciler.kinds.node_pair.tables import metadata
from reconciler.model.resource import Lifecycle, Resource, ResourceRef
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.store.kind_records import KindRecords
from reconciler.store.leases import Lease
from reconciler.store.owners import Owner
from reconciler.store.schema import open_database

PAIR = "shop"
RUN = "3f2a9c1b7d20"
SPEC: dict[str, Any] = {
    "master": {"address": "10.77.0.2"},
    "backup": {"address": "10.77.0.3"},
    "version": "2.0",
    "commands": {"version": "cat /opt/shop/version", "install": "/opt/shop/install"},
    "rsync": {"sync": {"module": "shop", "paths": {".": "/etc/shop"}}},
}


@dataclass(slots=True)
class Clock:
    """What time it is: it stands still until it is moved on."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class PairStore:
    """The rows of a pair, and the store that they are in."""

    database: Database
    lease: Lease
    clock: Clock = field(default_factory=Clock)

    @property
    def records(self) -> KindRecords:
        """The kind's tables, as a step has them."""
        return KindRecords(self.database, metadata.tables, self.lease)

    @property
    def reading(self) -> KindRecords:
        """The kind's tables, as a look has them."""
        return KindRecords(self.database, metadata.tables, None)

    def rows(self, pair: str = PAIR) -> PairRows:
        """Those of a pair, by this clock."""
        return PairRows(self.records, pair, self.clock)

    def sql(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """What the database itself says."""
        with self.database.write() as connection:
            done = connection.execute(text(statement), values)
            return [dict(row) for row in done.mappings()] if done.returns_rows else []


def resource(pair: str = PAIR, spec: dict[str, Any] | None = None, **lifecycle: Any) -> Resource:
    """The document of a pair."""
    return Resource(ResourceRef("NodePair", pair), spec or SPEC, lifecycle=Lifecycle(**lifecycle))


def spec_of(pair: str = PAIR, spec: dict[str, Any] | None = None) -> NodePairSpec:
    """Its spec as the kind reads it."""
    return NodePairSpec.of(resource(pair, spec))


@contextmanager
def opened(folder: Path) -> Iterator[PairStore]:
    """A new store in a folder."""
    database = open_database(f"sqlite:///{folder / 'reconciler.db'}", [Path(kind.__path__[0])])
    try:
        yield PairStore(database, leases.acquire(database, f"NodePair/{PAIR}", Owner.this_process("test")))
    finally:
        database.close()
