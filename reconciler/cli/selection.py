"""`--limit` and `-l`: which resources a command is about. A selection that matches nothing is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from reconciler.errors import UsageError
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from reconciler.engine.workspace import Workspace


def selection_options(function: Any) -> Any:
    """The options `--limit` and `-l`."""
    function = click.option(
        "-l", "--selector", "labels", multiple=True, metavar="LABEL=VALUE", help="Only resources with this label."
    )(function)
    return click.option(
        "--limit", "limit", multiple=True, metavar="KIND/NAME", help="Only these; a glob such as Cluster/dev-* works."
    )(function)


def select(workspace: Workspace, limit: Sequence[str], labels: Sequence[str]) -> list[ResourceRef]:
    """The refs of the workspace that were asked for; all of them when nothing was asked."""
    from reconciler.engine.workspace import matching  # noqa: PLC0415 - the engine is loaded by then

    refs = workspace.scope()
    if limit:
        refs = matching(refs, limit)
    if labels:
        wanted = parse_labels(labels)
        refs = [ref for ref in refs if wanted.items() <= _labels(workspace, ref).items()]
        if not refs:
            raise UsageError("NothingSelected", f"nothing has the labels {', '.join(labels)}")
    return refs


def parse_labels(given: Sequence[str]) -> dict[str, str]:
    """`a=b` and `a=b,c=d` as a mapping. Raises UsageError."""
    found: dict[str, str] = {}
    for entry in (part for text in given for part in text.split(",")):
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise UsageError("BadSelector", f"-l {entry}: write label=value")
        found[name] = value
    return found


def _labels(workspace: Workspace, ref: ResourceRef) -> dict[str, str]:
    resource = workspace.desired.get(ref)
    if resource is None:
        record = workspace.records.get(ref)
        return dict(record.resource.labels) if record is not None else {}
    return dict(resource.labels)
