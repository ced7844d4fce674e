"""The kind `ApplicationSet`: what the engine asks of it. The doing is in `steps`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reconciler.kind import MANAGING, Context, Records, Step, Watch
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State

if TYPE_CHECKING:
    from reconciler.kinds.application_set.spec import SetSpec


class ApplicationSetKind:
    """See `kind.Kind` for what each member is; README.md for what is compared."""

    name = "ApplicationSet"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """schema.json."""
        schema: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text("utf-8"))
        return schema

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """The cluster that it lives in, where the spec names it."""
        cluster = _spec_of(resource).cluster
        return (ResourceRef("Cluster", cluster),) if cluster else ()

    def follows(self, resource: Resource) -> Sequence[str]:
        """Its elements are made of the records of clusters."""
        return ("Cluster",)

    def target(self, resource: Resource) -> str:
        """The cluster that it lives in; without a name all are looked at in one go."""
        cluster = _spec_of(resource).cluster
        return f"cluster/{cluster}" if cluster else "management"

    def watches(self, resource: Resource) -> Sequence[Watch]:
        """The set itself, in the cluster that the spec names or in the one that manages the others."""
        from reconciler.kinds.application_set.manifest import API_VERSION, KIND_NAME  # noqa: PLC0415 - see `_spec_of`

        return (Watch(_spec_of(resource).cluster or MANAGING, API_VERSION, KIND_NAME),)

    def normalize(self, resource: Resource) -> State:
        """The desired state. Which elements it has to have only the records know: `looking` compares them."""
        from reconciler.kinds.application_set.looking import normal_form  # noqa: PLC0415 - see `_spec_of`

        return normal_form(_spec_of(resource))

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at all of them, with one connection a cluster."""
        from reconciler.kinds.application_set.looking import look_at  # noqa: PLC0415 - see `_spec_of`

        return look_at(resources, context)

    def steps(self, change: Change) -> Sequence[Step]:
        """One step for one object."""
        from reconciler.kinds.application_set.plan_steps import steps_of  # noqa: PLC0415 - see `_spec_of`

        return steps_of(change)

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """Keep where it was seen, and with which elements."""
        from reconciler.kinds.application_set import place  # noqa: PLC0415 - see `_spec_of`

        place.keep(records, resource.ref.name, observation)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """Where it lives and its elements, for people."""
        from reconciler.kinds.application_set import place  # noqa: PLC0415 - see `_spec_of`

        return place.facts(records)


def _spec_of(resource: Resource) -> SetSpec:
    from reconciler.kinds.application_set.spec import SetSpec  # noqa: PLC0415 - 10 ms of classes, not for who has none

    return SetSpec.of(resource)
