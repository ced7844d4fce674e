"""Documents from somewhere else: they may name no file of this host. Asked by `web.writing` before one is kept.

Whoever writes a spec file here could read these files anyway; whoever sends a document through the API could not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.kind import Kind
from reconciler.loading.marks import Mark
from reconciler.loading.messages import Finding
from reconciler.loading.reader import Path
from reconciler.loading.schema import kind_schema

_MESSAGE = "a document that comes through the API cannot name a file of this host"


def file_findings(document: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[Finding]:
    """A finding for each field of a valid document that names a file: `x-file` fields, and secrets by `fromFile`."""
    kind = kinds.get(str(document.get("kind")))
    extractor = kind_schema(kind).extractor if kind is not None else None
    if extractor is None:
        return []
    found: list[Finding] = []

    def visit(mark: Mark, value: Any, path: Path) -> Any:
        is_file = mark in ("file", "file-anywhere") and isinstance(value, str)
        if is_file:
            found.append(Finding(path, _MESSAGE))
        elif mark == "secret" and isinstance(value, Mapping) and "fromFile" in value:
            found.append(Finding((*path, "fromFile"), _MESSAGE))
        return value

    extractor.extract(document.get("spec"), ("spec",), visit)
    return found
