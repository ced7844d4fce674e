"""What a project's repository is filled with, from its spec and its id. Called by the kind and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import SpecError
from reconciler.kinds.project.spec import ProjectSpec, with_id

_ANY_ID = "00000000-0000-4000-8000-000000000000"


def made_of(spec: ProjectSpec) -> dict[str, Any]:
    """What decides what the template gives: compared, so that a change of it is pushed. Pure."""
    assert spec.template is not None
    return {
        "name": spec.template.name,
        "path": spec.template.path,
        "variables": dict(spec.template.variables),
        "environments": {
            one.slug: {
                "path": one.path,
                "namespace": one.namespace,
                "host": one.host,
                "replicas": one.replicas,
                "cluster": one.cluster,
            }
            for one in spec.environments
        },
    }


def foreseen(spec: ProjectSpec, settings: Mapping[str, Any]) -> str:
    """Why the template cannot be rendered, before there is anything else of the project; "" for no reason."""
    try:
        files_of(spec, _ANY_ID, settings)
    except SpecError as error:
        return f"spec.template: {error.message}"
    return ""


def files_of(spec: ProjectSpec, project_id: str, settings: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of the repository, content by path; none without a template. Raises SpecError."""
    if spec.template is None:
        return {}
    from reconciler.kinds.project.templates import Facts, Overlay, locate, render  # noqa: PLC0415 - few projects do

    allowed = settings.get("templateFolders", ())
    given = spec.template
    template = given.name or locate(given.path, given.folder, allowed)
    environments = [
        Overlay(
            slug=one.slug,
            type=one.type,
            path=one.path,
            namespace=with_id(one.namespace or spec.namespace, project_id),
            cluster=one.cluster,
            host=one.host,
            replicas=one.replicas,
        )
        for one in spec.environments
    ]
    project = Facts(spec.slug, spec.name, project_id, spec.description, spec.repository.url, spec.repository.branch)
    return render(template, given.variables, environments, project)
