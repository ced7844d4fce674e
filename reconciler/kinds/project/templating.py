"""What a project's repository is filled with, from its spec and its id. Called by the kind and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import SpecError
from reconciler.kinds.project.spec import ProjectSpec, TemplateSpec, with_id

if TYPE_CHECKING:
    from reconciler.kind import Context

AS_PUSHED = "as it was pushed"
EDITED = "edited since it was pushed"
_QUIET = 0.5
_READINGS = 10
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


def foreseen(spec: ProjectSpec, settings: Mapping[str, Any]) -> str:
    """Why the template cannot be rendered, before there is anything else of the project; "" for no reason."""
    try:
        rendered(spec, _ANY_ID, settings)
    except SpecError as error:
        return f"spec.template: {error.message}"
    return ""


class Rendered(NamedTuple):
    """The files of a repository, content by path, and the digest of the folder of one's own that they are made from."""

    files: dict[str, bytes]
    folder: str = ""


def rendered(spec: ProjectSpec, project_id: str, settings: Mapping[str, Any]) -> Rendered:
    """What the template gives, from one reading of it; no files without one. Raises SpecError."""
    if spec.template is None:
        return Rendered({})
    from reconciler.kinds.project.templates import Facts, Overlay, read_folder, render  # noqa: PLC0415 - few projects do

    own = read_folder(place_of(spec.template, settings)) if spec.template.path else None
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
    files = render(own or spec.template.name, spec.template.variables, environments, project)
    return Rendered(files, own.digest if own is not None else "")


def place_of(template: TemplateSpec, settings: Mapping[str, Any]) -> Path:
    """The folder of a template of one's own. Raises SpecError unless it is there and may be read."""
    from reconciler.kinds.project.templates import locate  # noqa: PLC0415 - few projects do

    return locate(template.path, template.folder, settings.get("templateFolders", ()))


class OwnFolders:
    """The folders of templates as they are now, each read once for a look, however many projects share it.

    One that is not as it was pushed is read until two readings are the same: somebody may be writing there.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._digests: dict[Path, str] = {}
        self._settled: set[Path] = set()

    def digest(self, template: TemplateSpec, pushed: str) -> str:
        """Of a folder, with all that is in it. pushed: what it was when it was pushed. Raises SpecError."""
        from reconciler.kinds.project.templates import read_folder  # noqa: PLC0415 - few projects do

        folder = place_of(template, self.context.settings)
        if folder not in self._digests:
            self._digests[folder] = read_folder(folder).digest
        if self._digests[folder] != pushed and folder not in self._settled:
            self._settled.add(folder)
            for _ in range(_READINGS):
                self.context.sleep(_QUIET)
                before, self._digests[folder] = self._digests[folder], read_folder(folder).digest
                if before == self._digests[folder]:
                    break
        return self._digests[folder]
