"""The kind `Project`: what the engine asks of it. The doing is in `steps`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Records, Step, Watch
from reconciler.kinds.project.keeping import facts, keep
from reconciler.kinds.project.objects import KUSTOMIZATION, SOURCE, objects_of, wanted_environment
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.kinds.project.templating import made_of
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State


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
        return [ResourceRef("Cluster", name) for name in ProjectSpec.of(resource).clusters]

    def target(self, resource: Resource) -> str:
        """Its cluster: all projects of one are looked at in one go."""
        return f"cluster/{ProjectSpec.of(resource).cluster}"

    def watches(self, resource: Resource) -> Sequence[Watch]:
        """Its Flux objects in every cluster that it is in."""
        clusters = ProjectSpec.of(resource).clusters
        return [Watch(cluster, one.api_version, one.kind) for cluster in clusters for one in (SOURCE, KUSTOMIZATION)]

    def normalize(self, resource: Resource) -> State:
        """The desired state; `looking.Look.state` reports the same fields."""
        spec = ProjectSpec.of(resource)
        repository = spec.repository
        names = ("provider", "name", "url", "branch")
        wanted: dict[str, Any] = {
            "cluster": spec.cluster,
            "namespace": spec.namespace,
            "project": {
                "slug": spec.slug,
                "description": spec.description,
                "visibility": spec.visibility,
                "status": "active",
            },
            "repository": {name: getattr(repository, name) for name in names},
            "environments": {
                one.slug: wanted_environment(one, sequence) for sequence, one in enumerate(spec.environments, 1)
            },
            "clusters": objects_of(spec),
            "leftovers": [],
        }
        if spec.template is not None:
            wanted["template"] = made_of(spec)
        if spec.flux.install:
            from reconciler.kinds.project.flux_install import wanted_installs  # noqa: PLC0415 - see `steps`

            wanted["flux"] = wanted_installs(spec)
        return wanted

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at all projects of one cluster."""
        from reconciler.kinds.project.looking import look_at  # noqa: PLC0415 - see `steps`

        return look_at(resources, context)

    def steps(self, change: Change) -> Sequence[Step]:
        """The steps that the change needs."""
        from reconciler.kinds.project.plan_steps import steps_of  # noqa: PLC0415 - git and REST: 60 ms, not for `validate`

        return steps_of(change)

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """Keep the live status of its Flux objects."""
        keep(records, observation)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """What its rows say, for people."""
        return facts(records)
