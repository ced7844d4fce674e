"""Templates: what a new project's repository holds, rendered in memory. Called by the step `push_template`.

A template is a folder (see `folders`), one of ours or somebody's own. `render` gives the files of the repository; it
writes nothing. Which variables a template takes stands in its template.json: JSON Schema, with defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError
from reconciler.kinds.project.templates.folders import BUILT_IN, Folder, built_in_names, locate, read_folder
from reconciler.kinds.project.templates.rendering import Facts, Overlay, overlay_path, render_folder, variables_schema

__all__ = ["Facts", "Overlay", "built_in_names", "locate", "overlay_path", "read_folder", "render", "variables_of"]


def render(
    template: str | Path | Folder, variables: Mapping[str, Any], environments: Sequence[Overlay], project: Facts
) -> dict[str, bytes]:
    """The repository's files, content by path, sorted; the same input gives the same bytes.

    template: the name of one of ours, or a folder (see `locate`), read already or not. Raises SpecError for a template
    that may not be read or is none, for variables that it does not take, and for environments that would get in each
    other's way.
    """
    return render_folder(_folder(template), variables, environments, project)


def variables_of(template: str | Path) -> dict[str, Any]:
    """JSON Schema of the variables that a template takes. Raises SpecError."""
    return variables_schema(_folder(template))


def _folder(template: str | Path | Folder) -> Folder:
    if isinstance(template, Folder):
        return template
    if isinstance(template, Path):
        return read_folder(template)
    if template not in built_in_names():
        known = ", ".join(built_in_names())
        raise SpecError("UnknownTemplate", f'there is no template "{template}"; there is {known}')
    return read_folder(BUILT_IN / template, template)
