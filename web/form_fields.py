"""The fields of a form out of a kind's own schema, and the document out of what was filled in. Pure; used by `forms`.

Scalars of `spec`, also those of its mappings, become fields; lists and free mappings are left to files and the API.
A secret is named by the environment variable that holds it. Files of this host cannot be named, so their fields are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reconciler.loading.messages import Finding
from reconciler.loading.schema import LIFECYCLE_SCHEMA, METADATA_SCHEMA
from web.presentation import words

Path = tuple[str, ...]
_SCALARS = {"string": "text", "integer": "number", "number": "number", "boolean": "choice"}
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Field:
    """One field. path: in the document. default: what is taken when it is left empty, as text. error: beside it."""

    path: Path
    label: str
    hint: str
    form: Literal["text", "number", "choice", "secret"]
    choices: tuple[str, ...] = ()
    default: str = ""
    required: bool = False
    longest: int = _LONGEST
    value: str = ""
    error: str = ""

    @property
    def name(self) -> str:
        """Its name in the form."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together. title: "" for those of the resource itself."""

    title: str
    hint: str
    fields: tuple[Field, ...]


def groups_of(spec: Mapping[str, Any]) -> tuple[Group, ...]:
    """The form for a kind. spec: its schema."""
    own, *nested = _groups(("spec",), spec, is_required=True)
    name_field = _field(("metadata", "name"), METADATA_SCHEMA["properties"]["name"], is_required=True)
    life = LIFECYCLE_SCHEMA["properties"]
    cycle = tuple(_field(("lifecycle", name), life[name]) for name in ("approval", "deletion"))
    return (
        Group("", "", (replace(name_field, longest=63), *own.fields)),
        *nested,
        Group("Life cycle", LIFECYCLE_SCHEMA["description"], cycle),
    )


def left_out(spec: Mapping[str, Any]) -> list[str]:
    """The fields of `spec`, dotted, that no form can fill in."""
    return list(_left_out((), spec))


def _groups(path: Path, described: Mapping[str, Any], *, is_required: bool = False) -> Iterator[Group]:
    """The fields of a mapping, then those of the mappings in it. is_required: whether it has to be there at all."""
    required = described.get("required", ()) if is_required else ()
    members = described.get("properties", {})
    fields = [
        _field((*path, name), one, is_required=name in required) for name, one in members.items() if _is_field(one)
    ]
    title = ": ".join([words(path[1]), *path[2:]]) if len(path) > 1 else ""
    yield Group(title, described.get("description", ""), tuple(fields))
    for name, one in members.items():
        if _is_flat(one):
            yield from _groups((*path, name), one, is_required=name in required)


def _left_out(path: Path, described: Mapping[str, Any]) -> Iterator[str]:
    for name, one in described.get("properties", {}).items():
        if _is_flat(one):
            yield from _left_out((*path, name), one)
        elif not _is_field(one):
            yield ".".join((*path, name))


def document_of(groups: Sequence[Group], filled: Mapping[str, str], kind: str) -> dict[str, Any]:
    """The document that a filled form describes: what was left empty is left out."""
    document: dict[str, Any] = {"kind": kind, "metadata": {}, "spec": {}}
    for field in _fields(groups):
        text = filled.get(field.name, "").strip()
        if text:
            place = document
            for part in field.path[:-1]:
                place = place.setdefault(part, {})
            place[field.path[-1]] = _value(field, text)
    return document


def filled_in(groups: Sequence[Group], filled: Mapping[str, str], findings: Sequence[Finding]) -> tuple[Group, ...]:
    """The same form with what was written and, beside each field, what is wrong with it."""
    errors: dict[Path, list[str]] = {}
    for finding in findings:
        errors.setdefault(_blamed(groups, finding), []).append(finding.message)
    return tuple(
        replace(
            group,
            fields=tuple(
                replace(one, value=filled.get(one.name, "")[:4096], error="; ".join(errors.get(one.path, ())))
                for one in group.fields
            ),
        )
        for group in groups
    )


def elsewhere(groups: Sequence[Group], findings: Sequence[Finding]) -> list[Finding]:
    """What is wrong and belongs to no field of the form."""
    known = {field.path for field in _fields(groups)}
    return [finding for finding in findings if _blamed(groups, finding) not in known]


def _blamed(groups: Sequence[Group], finding: Finding) -> Path:
    """The field that a finding is about: a missing one is reported at its parent."""
    path = tuple(str(part) for part in finding.path)
    for field in _fields(groups):
        if field.form == "secret" and path[: len(field.path)] == field.path:
            return field.path
        if field.path == path or (field.path[:-1] == path and f'"{field.path[-1]}" is missing' in finding.message):
            return field.path
    return path


def _fields(groups: Sequence[Group]) -> Iterator[Field]:
    for group in groups:
        yield from group.fields


def _is_field(described: Any) -> bool:
    """Whether one line can fill it in."""
    if not isinstance(described, Mapping) or "x-file" in described:
        return False
    return "enum" in described or str(described.get("type")) in _SCALARS


def _is_flat(described: Any) -> bool:
    """A mapping of which at least one member can be filled in, and none has to be that cannot."""
    if not isinstance(described, Mapping) or described.get("type") != "object":
        return False
    members = described.get("properties", {})
    return any(map(_is_field, members.values())) and all(
        _is_field(members.get(name)) for name in described.get("required", ())
    )


def _field(path: Path, described: Mapping[str, Any], *, is_required: bool = False) -> Field:
    is_secret = bool(described.get("x-secret"))
    form: Any = "secret" if is_secret else "choice" if "enum" in described else _SCALARS[described["type"]]
    choices = described.get("enum") or (["true", "false"] if described.get("type") == "boolean" else [])
    default = described.get("default", "")
    hint = described.get("description", "")
    return Field(
        path=path,
        label=f"{words(path[-1])}: environment variable" if is_secret else words(path[-1]),
        hint=f"{hint} Named by the variable of the daemon that holds it." if is_secret else hint,
        form=form,
        choices=tuple(map(str, choices)),
        default=str(default).lower() if isinstance(default, bool) else str(default),
        required=is_required,
        longest=min(described.get("maxLength", _LONGEST), 4096),
    )


def _value(field: Field, text: str) -> Any:
    """What a text means; one that does not fit is left as it is, and the schema says what is wrong."""
    if field.form == "secret":
        return {"fromEnv": text}
    if field.form == "choice" and set(field.choices) == {"true", "false"}:
        return {"true": True, "false": False}.get(text, text)
    if field.form == "number":
        for number in (int, float):
            try:
                return number(text) if len(text) < 30 and text.isascii() else text
            except ValueError:
                continue
    return text
