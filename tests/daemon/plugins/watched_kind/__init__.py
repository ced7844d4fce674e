"""A kind that wants to be told about live objects: one ConfigMap in a recorded cluster. Installed through `plugins`.

What somebody writes into the ConfigMap as `trouble` is its ill health. Every look at a resource is a line with its name
in the file of the kind's setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Step, Watch
from reconciler.model.marks import ownership_labels
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef, State


class Watched:
    """A ConfigMap that says one text."""

    name = "Watched"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1
    schema: Mapping[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["cluster", "text"],
        "properties": {
            "cluster": {"type": "string", "description": "The cluster that it is in."},
            "text": {"type": "string", "description": "What it says."},
            "types": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Kinds of the core group that are watched.",
            },
        },
    }

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return (ResourceRef("Cluster", resource.spec["cluster"]),)

    def target(self, resource: Resource) -> str:
        return f"cluster/{resource.spec['cluster']}"

    def watches(self, resource: Resource) -> Sequence[Watch]:
        return [Watch(resource.spec["cluster"], "v1", kind) for kind in resource.spec.get("types", ["ConfigMap"])]

    def normalize(self, resource: Resource) -> State:
        return {"text": resource.spec["text"]}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        _note(context, resources)
        cluster = resources[0].spec["cluster"]
        known = context.clusters().get(cluster)
        if known is None or not known.was_verified:
            return {one.ref: Observation(one.ref, pending=ResourceRef("Cluster", cluster)) for one in resources}
        with context.cluster(cluster) as api:
            there = {one["metadata"]["name"]: one for one in api.list(api.resource_path("v1", "ConfigMap", "default"))}
        return {one.ref: _seen(one.ref, there.get(one.ref.name), context.now()) for one in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        if change.action is Action.DELETE:
            return [Step("delete", "Delete the ConfigMap", _delete)]
        return [Step("apply", "Apply the ConfigMap", _apply)]


def _note(context: Context, resources: Sequence[Resource]) -> None:
    with Path(context.settings["looks"]).open("a") as looks:
        looks.write("".join(f"{one.ref.name}\n" for one in resources))


def _seen(ref: ResourceRef, live: Mapping[str, Any] | None, now: float) -> Observation:
    if live is None:
        return Observation(ref, observed_at=now)
    told = live.get("data", {})
    return Observation(ref, {"text": told.get("text", "")}, unhealthy=told.get("trouble", ""), observed_at=now)


def _apply(context: Context) -> None:
    assert context.resource is not None
    name = context.resource.ref.name
    metadata = {"name": name, "namespace": "default", "labels": ownership_labels(context.resource.ref)}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    with context.cluster(context.resource.spec["cluster"]) as api:
        api.apply({**manifest, "data": {"text": context.resource.spec["text"]}}, force=True)


def _delete(context: Context) -> None:
    assert context.resource is not None
    with context.cluster(context.resource.spec["cluster"]) as api:
        api.delete(api.resource_path("v1", "ConfigMap", "default", context.resource.ref.name))


KIND = Watched()
