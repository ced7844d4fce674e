"""The kind `Cluster`: what the engine asks of it. The doing is in `steps`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, KnownCluster, Records, Step, Wanted
from reconciler.kinds.cluster import reserving, rows, wishes
from reconciler.kinds.cluster.attachments import fields, schema_of
from reconciler.kinds.cluster.looking import look_at
from reconciler.kinds.cluster.normal_form import normal_form
from reconciler.kinds.cluster.providers import providers
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State


class ClusterKind:
    """See `kind.Kind` for what each member is; README.md for what is compared."""

    name = "Cluster"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """schema.json, with the providers that are there as the values of `provider`, and each attachment's part."""
        schema: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text("utf-8"))
        schema["properties"]["provider"]["enum"] = list(providers())
        schema["properties"] |= {field: schema_of(field) for field in fields()}
        return schema

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """A cluster needs nothing that its spec names."""
        return ()

    def target(self, resource: Resource) -> str:
        """Each cluster is a system of its own: one that hangs delays no other."""
        return f"cluster/{resource.ref.name}"

    def normalize(self, resource: Resource) -> State:
        """The desired state; looking reports the same fields."""
        return normal_form(resource)

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at each; one target is one cluster, so there is just one."""
        return {resource.ref: look_at(resource, context) for resource in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        """The steps that the change needs."""
        from reconciler.kinds.cluster.plan_steps import steps_of  # noqa: PLC0415 - 20 ms, only where something changes

        return steps_of(change)

    def recorded(self, records: Records) -> Iterable[Mapping[str, Any]]:
        """What rows want that no document names; see `wishes`."""
        return wishes.documents(records)

    def want(self, records: Records, name: str, state: Wanted) -> None:
        """Note in such a row what is wanted from now on."""
        wishes.want(records, name, state)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """What rows say, for people."""
        return wishes.facts(records)

    def claims(self, resource: Resource) -> Mapping[str, str]:
        """The ports of this host that its spec names."""
        return reserving.claims(ClusterSpec.of(resource))

    def clusters(self, records: Records, home: Path) -> Mapping[str, KnownCluster]:
        """Every cluster that has a row, for the kinds that work in clusters."""
        return rows.known_clusters(records, home)
