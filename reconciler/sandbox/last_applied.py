"""The way from client-side to server-side apply: what kubectl wrote into its annotation is its own. Called by `writes`.

As the API server does, and only for the field manager `kubectl`: a conflict over a field that still has the value of
the last client-side apply is no conflict, and the annotation follows a server-side apply so that both can be mixed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.sandbox.apply import Applied, ApplyConflictError, apply_configuration
from reconciler.sandbox.fieldsets import FieldSet
from reconciler.sandbox.managed import Actor, owned_fields
from reconciler.sandbox.patches import same_json
from reconciler.sandbox.schema import Node

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_MANAGER = "kubectl"


def apply_after_client_side(
    node: Node, live: Mapping[str, Any] | None, configuration: Mapping[str, Any], actor: Actor, *, force: bool
) -> Applied:
    """`apply_configuration` that knows of client-side applies before it. Raises what that raises."""
    try:
        applied = apply_configuration(node, live, configuration, actor, force=force)
    except ApplyConflictError as error:
        if actor.name != _MANAGER or live is None or error.fields - _still_as_applied(node, live):
            raise
        applied = apply_configuration(node, live, configuration, actor, force=True)
    if actor.name == _MANAGER and _annotation(live) is not None:
        applied.value["metadata"] = _with_annotation(applied.value.get("metadata") or {}, configuration)
    return applied


def _annotation(live: Mapping[str, Any] | None) -> str | None:
    found = (((live or {}).get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    return found if isinstance(found, str) and found else None


def _still_as_applied(node: Node, live: Mapping[str, Any]) -> FieldSet:
    """The fields of the last client-side apply that have its value still."""
    try:
        last = json.loads(_annotation(live) or "{}")
    except ValueError:
        return frozenset()
    if not isinstance(last, dict):
        return frozenset()
    now = owned_fields(node, live, maps=False)
    then = owned_fields(node, last, maps=False)
    return frozenset(path for path, value in then.items() if path in now and same_json(now[path], value))


def _with_annotation(metadata: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    identity = configuration.get("metadata") or {}
    annotations = {key: one for key, one in (identity.get("annotations") or {}).items() if key != ANNOTATION}
    written = {**configuration, "metadata": {**identity, "annotations": annotations}}
    text = json.dumps(written, separators=(",", ":")) + "\n"
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), ANNOTATION: text}}
