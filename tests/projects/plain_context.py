"""A Context for parts of the kind Project that are driven by themselves: real clusters, real git, records in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.errors import TransientError
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.model.resource import Resource, ResourceRef
from reconciler.transports.git_access import RemoteAccess
from reconciler.transports.git_remote import GitRemote
from reconciler.transports.kube import KubeTransport

REF = ResourceRef("Project", "shop")


def project(**spec: Any) -> ProjectSpec:
    """A project in cluster `dev`, unless the spec says otherwise."""
    return ProjectSpec.of(Resource(REF, {"cluster": "dev", **spec}))


class MemoryRecords:
    """Rows in memory, with the methods of `kind.Records` that the parts under test call."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.writes = 0

    @contextmanager
    def transaction(self) -> Iterator[MemoryRecords]:
        yield self

    def get(self, table: str, **key: Any) -> dict[str, Any] | None:
        return next((row for row in self.tables.get(table, ()) if key.items() <= row.items()), None)

    def put(self, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.writes += 1
        row = self.get(table, **key)
        if row is None:
            self.tables.setdefault(table, []).append(row := dict(key))
        row.update(values)


@dataclass
class PlainContext:
    """clusters: kubeconfigs by name. folder: of git's working copies. dies_after: calls of an API until one fails."""

    folder: Path
    clusters: dict[str, Path]
    settings: dict[str, Any] = field(default_factory=dict)
    records: MemoryRecords = field(default_factory=MemoryRecords)
    said: list[str] = field(default_factory=list)
    dies_after: int = -1
    resource: Resource = field(default_factory=lambda: Resource(REF, {}))

    def cluster(self, name: str) -> KubeTransport:
        if name not in self.clusters:
            raise TransientError("NoSuchCluster", f"no cluster {name} is recorded")
        return KubeTransport(self.clusters[name])

    def git(self, url: str, access: RemoteAccess) -> GitRemote:
        return GitRemote(self.folder, url, access)

    def log(self, text: str) -> None:
        """Dies at the line after `dies_after` others: what was logged before had been done."""
        if len(self.said) == self.dies_after:
            raise KeyboardInterrupt
        self.said.append(text)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        return time.time()
