"""What a project's repository is filled with, from its spec and its id. Called by the kind and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError
from reconciler.kinds.project.spec import ProjectSpec, TemplateSpec, with_id

AS_PUSHED = "as it was pushed"
EDITED = "edited since it was pushed"
_ANY_ID = "00000000-0000-4000-8000-000000000000"


def made_of(spec: ProjectSpec) -> dict[str, Any]:
    """What decides what the template gives: compared, so that a change of it is pushed. Pure."""
    assert spec.template is not None
    return {
        **({"folder": AS_PUSHED} if spec.template.path else {}),
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


def folder_digest(spec: ProjectSpec, settings: Mapping[str, Any]) -> str:
    """What is in the template's folder now, as a digest; "" for a template of ours. Raises SpecError."""
    if spec.template is None or not spec.template.path:
        return ""
    from reconciler.kinds.project.templates.folders import locate, read_folder  # noqa: PLC0415 - few projects do

    return read_folder(locate(*_where(spec.template, settings))).digest


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

    template = spec.template.name or locate(*_where(spec.template, settings))
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
    return render(template, spec.template.variables, environments, project)


def _where(template: TemplateSpec, settings: Mapping[str, Any]) -> tuple[str, Path | None, Sequence[str]]:
    """The folder as it is written, where a relative one starts, and the folders that the settings allow."""
    return template.path, template.folder, settings.get("templateFolders", ())
