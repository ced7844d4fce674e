"""The kind `Project`: what the engine asks of it. The doing is in `steps`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reconciler.kind import Context, Records, Step, Watch
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State

if TYPE_CHECKING:
    from reconciler.kinds.project.spec import ProjectSpec


class ProjectKind:
    """See `kind.Kind` for what each member is; README.md for what is compared."""

    name = "Project"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """schema.json."""
        schema: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text("utf-8"))
        return schema

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """The clusters that it is in."""
        return [ResourceRef("Cluster", name) for name in _spec_of(resource).clusters]

    def target(self, resource: Resource) -> str:
        """Its cluster: all projects of one are looked at in one go."""
        return f"cluster/{_spec_of(resource).cluster}"

    def watches(self, resource: Resource) -> Sequence[Watch]:
        """Its Flux objects in every cluster that it is in."""
        from reconciler.kinds.project.objects import KUSTOMIZATION, SOURCE  # noqa: PLC0415 - see `_spec_of`

        clusters = _spec_of(resource).clusters
        return [Watch(cluster, one.api_version, one.kind) for cluster in clusters for one in (SOURCE, KUSTOMIZATION)]

    def normalize(self, resource: Resource) -> State:
        """The desired state; `looking.Look.state` reports the same fields."""
        from reconciler.kinds.project.normal_form import normal_form  # noqa: PLC0415 - see `_spec_of`

        return normal_form(_spec_of(resource))

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at all projects of one cluster."""
        from reconciler.kinds.project.looking import look_at  # noqa: PLC0415 - see `_spec_of`

        return look_at(resources, context)

    def steps(self, change: Change) -> Sequence[Step]:
        """The steps that the change needs."""
        from reconciler.kinds.project.plan_steps import steps_of  # noqa: PLC0415 - git and REST: 60 ms, not for `validate`

        return steps_of(change)

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """Keep the live status of its Flux objects."""
        from reconciler.kinds.project.keeping import keep  # noqa: PLC0415 - see `_spec_of`

        keep(records, observation)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """What its rows say, for people."""
        from reconciler.kinds.project.keeping import facts  # noqa: PLC0415 - see `_spec_of`

        return facts(records)


def _spec_of(resource: Resource) -> ProjectSpec:
    from reconciler.kinds.project.spec import ProjectSpec  # noqa: PLC0415 - 20 ms of classes, not for who has no project

    return ProjectSpec.of(resource)
