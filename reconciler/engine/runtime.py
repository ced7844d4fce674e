"""What every part of the engine is given: settings, kinds, the database, who we are. Built by `wiring.open_runtime`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import TransientError
from reconciler.kinds import Kinds
from reconciler.planning.planner import needs_of
from reconciler.store.database import Database
from reconciler.store.owners import Owner
from reconciler.transports.kube_pool import KubePool
from reconciler.transports.shared_looks import SharedLooks
from reconciler.transports.ssh_pool import SshPool

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from reconciler.loading.loader import LoadOptions
    from reconciler.loading.settings import Settings
    from reconciler.model.resource import ResourceRef
    from reconciler.store.kind_rows import Keys
    from reconciler.store.leases import Lease
    from reconciler.store.resources import Recording


@dataclass(slots=True)
class Runtime:
    """Everything that outlives a single pass.

    key: the home's digest key. tables: each kind's own tables by kind and table name; keys: just their primary keys,
    for who only reads. variables: given on the command line. stopping: set when no new step may start. fence: the
    daemon's own lease, under which a daemon writes what belongs to no change. kubes: kept connections to Kubernetes
    APIs. hosts: those over SSH.
    """

    settings: Settings
    kinds: Kinds
    database: Database
    owner: Owner
    key: bytes
    home: Path
    tables: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)
    keys: Mapping[str, Keys] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    fence: Lease | None = None
    kubes: KubePool = field(default_factory=KubePool)
    looks: SharedLooks = field(default_factory=SharedLooks)
    hosts: SshPool = field(default_factory=SshPool)

    def writing(self) -> AbstractContextManager[Connection]:
        """A write transaction for what belongs to no change. In a daemon it fails once another daemon took over."""
        return self.fence.fenced() if self.fence is not None else self.database.write()

    def shutting_down(self) -> Exception | None:
        """What ends a call that nobody waits for any more; None while nothing is to stop."""
        return TransientError("ShuttingDown", "stopped") if self.stopping.is_set() else None

    def kind_settings(self, kind: str) -> Mapping[str, Any]:
        """The settings' section of a kind."""
        return self.settings.kinds.get(kind, {})

    def recording(self) -> Recording:
        """How resources are written to the store."""
        from reconciler.store.resources import Recording  # noqa: PLC0415 - sqlalchemy, only for who writes

        return Recording(self.key, lambda resource: needs_of(self.kinds, resource))

    def load_options(self, known: Callable[[], Collection[ResourceRef]] = tuple) -> LoadOptions:
        """How documents are read. known: references that exist outside the source."""
        from reconciler.loading.loader import LoadOptions  # noqa: PLC0415 - only who loads needs the loader

        return LoadOptions(
            variables=self.variables,
            digest_key=self.key,
            secret_env=self.settings.secrets.env,
            secret_files=self.settings.secrets.files,
            defaults=self.settings.defaults,
            known=known,
        )
