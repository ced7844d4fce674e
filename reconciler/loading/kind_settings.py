"""What kinds say of their own settings (`kinds.<Kind>`): checked by `settings`, told by docs/settings.md.

A kind's package has a `settings.json` for that: a JSON Schema (draft 2020-12) that says `additionalProperties: false`,
and of every leaf `description` and, where there is one, `default`. The section of a kind without it is not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError
from reconciler.loading.text import shorten, suggestion

if TYPE_CHECKING:
    from reconciler.kinds import Kinds
    from reconciler.loading.messages import Finding
    from reconciler.loading.settings_keys import Settings


def kind_findings(settings: Settings) -> list[Finding]:
    """What is wrong with the kinds' sections, with paths that begin with `kinds`. Raises UsageError for bad plugins."""
    from reconciler.kinds import discover  # noqa: PLC0415 - only who has such settings needs the kinds

    packages = discover(settings.plugins).packages
    found: list[Finding] = []
    for name, section in settings.kinds.items():
        if name not in packages:
            found.append(_unknown(name, list(packages)))
        elif (schema := packages[name].settings) is not None:
            found += _findings(name, schema, section)
    return found


def _unknown(name: str, known: list[str]) -> Finding:
    from reconciler.loading.messages import Finding  # noqa: PLC0415 - only when something is wrong

    return Finding(("kinds", name), f'no kind "{shorten(name)}" is installed{suggestion(name, known)}')


def _findings(name: str, schema: Mapping[str, Any], section: Mapping[str, Any]) -> list[Finding]:
    import jsonschema_rs  # noqa: PLC0415 - 20 ms that only such settings need

    try:
        if jsonschema_rs.Draft202012Validator(dict(schema), offline=True).is_valid(section):
            return []
    except ValueError as error:
        raise UsageError("BadPlugin", f"settings.json of kind {name} is no schema: {error}") from error
    from reconciler.loading.messages import Finding, schema_findings  # noqa: PLC0415 - only when something is wrong

    return [Finding(("kinds", name, *path), message) for path, message in schema_findings(schema, section)]


def kind_settings_document(kinds: Kinds) -> str:
    """The end of docs/settings.md: the settings of each of these kinds that says which it has."""
    lines: list[str] = []
    for name, package in sorted(kinds.packages.items()):
        if (schema := package.settings) is not None:
            lines += ["", f"## Settings of {name}", "", "| Key | Value | Default | What it does |"]
            lines += ["| --- | --- | --- | --- |", *_rows(f"kinds.{name}", schema, schema)]
    return "\n".join([*_HEAD, *lines, ""])


def _rows(above: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    for name, written in schema.get("properties", {}).items():
        member = {**root.get("$defs", {}).get(str(written.get("$ref", "")).removeprefix("#/$defs/"), {}), **written}
        if "properties" in member:
            yield from _rows(f"{above}.{name}", member, root)
        else:
            default = member.get("default", "none")
            yield f"| `{above}.{name}` | {_form(member)} | {default} | {member.get('description', '')} |"


def _form(member: Mapping[str, Any]) -> str:
    """What a value is, in words."""
    if "enum" in member:
        return " or ".join(map(str, member["enum"]))
    if "x-expected" in member:
        return str(member["x-expected"]).partition(":")[0].removeprefix("a ").removeprefix("an ")
    return {"string": "text", "array": "list", "object": "mapping"}.get(
        str(member.get("type")), str(member.get("type"))
    )


_HEAD = (
    "",
    "Below `kinds` stand the settings that a kind itself defines. A kind says which in the `settings.json` of its",
    "package, and they are checked by it like all others; `RECONCILER_KINDS` holds all of them as JSON.",
)
