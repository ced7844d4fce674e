"""The kind `ApplicationSet`: what the engine asks of it. The doing is in `steps`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Records, Step, Watch
from reconciler.kinds.application_set import looking, place, steps
from reconciler.kinds.application_set.manifest import API_VERSION, KIND_NAME, manifest_of
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef, State

APPLY = Step("apply", "Apply the ApplicationSet", steps.apply, weight=10)
DELETE = Step("delete", "Delete the ApplicationSet and wait until it is gone", steps.delete, weight=10)
_STEPS = {
    Action.CREATE: (APPLY,),
    Action.UPDATE: (APPLY,),
    Action.REPLACE: (DELETE, APPLY),
    Action.DELETE: (DELETE,),
}


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
        cluster = SetSpec.of(resource).cluster
        return (ResourceRef("Cluster", cluster),) if cluster else ()

    def follows(self, resource: Resource) -> Sequence[str]:
        """Its elements are made of the records of clusters."""
        return ("Cluster",)

    def target(self, resource: Resource) -> str:
        """The cluster that it lives in; without a name all are looked at in one go."""
        cluster = SetSpec.of(resource).cluster
        return f"cluster/{cluster}" if cluster else "management"

    def watches(self, resource: Resource) -> Sequence[Watch]:
        """The set itself, where it is known from the spec alone in which cluster it lives."""
        cluster = SetSpec.of(resource).cluster
        return (Watch(cluster, API_VERSION, KIND_NAME),) if cluster else ()

    def normalize(self, resource: Resource) -> State:
        """The desired state. Which elements it has to have only the records know: `looking` compares them."""
        spec = SetSpec.of(resource)
        spec.check()
        wanted = {"cluster": spec.cluster or place.MANAGEMENT, "namespace": spec.namespace}
        return {**wanted, "elements": looking.CURRENT, "manifest": manifest_of(spec)}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at all of them, with one connection a cluster."""
        return looking.look_at(resources, context)

    def steps(self, change: Change) -> Sequence[Step]:
        """One step for one object. With which elements, a plan that changes clusters too cannot promise."""
        found = _STEPS.get(change.action, ())
        return [replace(step, preview="conditional") for step in found] if change.conditional else found

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """Keep where it was seen, and with which elements."""
        place.keep(records, resource.ref.name, observation)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """Where it lives and its elements, for people."""
        return place.facts(records)
