"""The normal form of a project: what the planner compares. Pure; called by the kind.

`looking.Look.state` reports the same fields.
"""

from __future__ import annotations

from typing import Any

from reconciler.kinds.project.objects import objects_of, wanted_environment
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.kinds.project.templating import made_of


def normal_form(spec: ProjectSpec) -> dict[str, Any]:
    """The desired state. Raises SpecError."""
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
        "repository": {name: getattr(spec.repository, name) for name in names},
        "environments": {
            one.slug: wanted_environment(one, sequence) for sequence, one in enumerate(spec.environments, 1)
        },
        "clusters": objects_of(spec),
        "leftovers": [],
    }
    if spec.template is not None:
        wanted["template"] = made_of(spec)
    if spec.flux.install:
        from reconciler.kinds.project.flux_install import wanted_installs  # noqa: PLC0415 - git, only for who installs

        wanted["flux"] = wanted_installs(spec)
    return wanted
