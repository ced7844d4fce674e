"""Readable messages for documents that do not fit their schema. Called only once a document is known to be wrong.

Each message names what was found and what was expected, and suggests the word that was probably meant. Values at or
below a field marked `x-secret`, and values that may contain one, are never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.loading.marks import resolve_pointer
from reconciler.loading.reader import Path
from reconciler.loading.text import listed, shorten, shown_value, suggestion

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_MAX_FINDINGS = 20
_TYPES = {"object": "a mapping", "array": "a list", "string": "a string", "integer": "a whole number"}
_TYPES |= {"number": "a number", "boolean": "true or false", "null": "nothing"}
_BOOLEAN_WORDS = frozenset({"yes", "no", "on", "off", "true", "false"})


class Finding(NamedTuple):
    """One thing that is wrong inside a document: where, and what."""

    path: Path
    message: str


def schema_findings(schema: Mapping[str, Any], document: Any) -> list[Finding]:
    """What keeps `document` from fitting `schema`, at most 20 things, in no order. Empty only if nothing does."""
    import jsonschema  # noqa: PLC0415  # 80 ms that a correct document never pays

    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    writer = _Writer(schema)
    found: dict[Finding, None] = {}
    for error in errors:
        found.update(dict.fromkeys(writer.findings(error)))
        if len(found) >= _MAX_FINDINGS:
            break
    return list(found)[:_MAX_FINDINGS]


class _Writer:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def findings(self, error: ValidationError) -> Iterator[Finding]:
        """One error of the validator as findings; of alternatives the one that was probably meant."""
        path: Path = tuple(error.absolute_path)
        instance: Any = error.instance
        schema = error.schema if isinstance(error.schema, Mapping) else {}
        if schema.get("x-secret") is True:
            yield Finding(path, "a secret never stands in a document: write {fromEnv: NAME} or {fromFile: path}")
        elif "propertyNames" in error.relative_schema_path:
            name = shorten(str(error.instance))
            yield Finding((*path, str(error.instance)), f'"{name}" is not {_expected(schema) or "allowed as a key"}')
        elif error.validator in ("anyOf", "oneOf") and error.context:
            yield from self._alternative(error, path)
        elif error.validator in ("additionalProperties", "unevaluatedProperties"):
            yield from self._unknown_fields(error, schema, path)
        elif error.validator == "required":
            limit: Any = error.validator_value
            missing = [name for name in limit if name not in instance]
            yield from (Finding(path, f'the field "{name}" is missing') for name in missing)
        else:
            shown = "a value" if self._may_hold_secret(schema) else shown_value(error.instance)
            yield Finding(path, _describe(error, schema, shown))

    def _alternative(self, error: ValidationError, path: Path) -> Iterator[Finding]:
        branches: dict[int, list[ValidationError]] = {}
        for inner in error.context or ():
            branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
        likely = [branch for branch in branches.values() if not any(map(_is_other_form, branch))]
        if len(likely) == 1:
            for inner in likely[0]:
                yield from self.findings(inner)
            return
        if choice := _choice(list(branches.values())):
            yield choice
            return
        alternatives: Any = error.validator_value
        forms = [self._form(branch) for branch in alternatives]
        shown = "the value" if self._may_hold_secret(error.schema) else shown_value(error.instance)
        yield Finding(path, f"{shown} has none of the forms that are possible here: {listed(forms)}")

    def _form(self, branch: Any) -> str:
        if isinstance(branch, Mapping) and str(branch.get("$ref", "")).startswith("#"):
            branch = {**resolve_pointer(self._root, branch["$ref"]), **branch}
        if not isinstance(branch, Mapping):
            return "another form"
        fields = f" with {', '.join(branch['required'])}" if branch.get("required") else ""
        named = branch.get("title") or _type_words(branch.get("type"))
        if "const" in branch:
            named = json.dumps(branch["const"])
        return shorten(f"{named or branch.get('description', 'another form')}{fields}")

    def _unknown_fields(self, error: ValidationError, schema: Mapping[str, Any], path: Path) -> Iterator[Finding]:
        instance: Any = error.instance
        known = set(self._field_names(schema, set()))
        patterns = list(schema.get("patternProperties", ()))
        for name in instance:
            if name not in known and not any(re.search(pattern, name) for pattern in patterns):
                hint = suggestion(name, sorted(known))
                if not hint and known:
                    hint = f": known here are {', '.join(sorted(known)[:20])}"
                yield Finding((*path, name), f'unknown field "{shorten(name)}"{hint}')

    def _field_names(self, schema: Any, seen: set[int]) -> Iterator[str]:
        for part in self._parts(schema, seen, ("allOf", "anyOf", "oneOf"), ("if", "then", "else")):
            yield from part.get("properties", ())

    def _parts(
        self, schema: Any, seen: set[int], lists: Iterable[str], singles: Iterable[str]
    ) -> Iterator[Mapping[str, Any]]:
        """A schema and those that apply to the same value, through local references."""
        if not isinstance(schema, Mapping) or id(schema) in seen:
            return
        seen.add(id(schema))
        yield schema
        if str(schema.get("$ref", "")).startswith("#"):
            yield from self._parts(resolve_pointer(self._root, schema["$ref"]), seen, lists, singles)
        for keyword in lists:
            for branch in schema.get(keyword, ()):
                yield from self._parts(branch, seen, lists, singles)
        for keyword in singles:
            yield from self._parts(schema.get(keyword), seen, lists, singles)

    def _may_hold_secret(self, schema: Any) -> bool:
        """True when a field marked as secret lies at or below the place that this schema describes."""
        waiting, seen = [schema], set[int]()
        while waiting:
            node = waiting.pop()
            if isinstance(node, Mapping):
                if node.get("x-secret") is True:
                    return True
                reference = node.get("$ref")
                if isinstance(reference, str) and reference.startswith("#") and id(node) not in seen:
                    seen.add(id(node))
                    waiting.append(resolve_pointer(self._root, reference))
                waiting.extend(node.values())
            elif isinstance(node, list | tuple):
                waiting.extend(node)
        return False


def _choice(branches: list[list[ValidationError]]) -> Finding | None:
    """For alternatives that one field tells apart (`type: const …`), when its value is none of theirs."""
    decisive = [next((one for one in branch if one.validator == "const"), None) for branch in branches]
    places = {tuple(one.absolute_path) if one else None for one in decisive}
    place = places.pop()
    if places or place is None:
        return None
    allowed = [one.validator_value for one in decisive if one]
    value = next(one.instance for one in decisive if one)
    meant = suggestion(value, _texts(allowed)) if isinstance(value, str) else ""
    return Finding(place, f"{shown_value(value)} is not allowed here, expected {listed(allowed)}{meant}")


def _is_other_form(error: ValidationError) -> bool:
    """True when an error says that a branch of alternatives describes something else altogether."""
    return (error.validator == "type" and not error.relative_path) or error.validator in ("const", "enum")


def _expected(schema: Mapping[str, Any]) -> str:
    return str(schema.get("x-expected", ""))


def _type_words(types: Any) -> str:
    names = [types] if isinstance(types, str) else types or []
    return listed([_TYPES.get(name, name) for name in names]) if names else ""


def _describe(error: ValidationError, schema: Mapping[str, Any], shown: str) -> str:
    """What is wrong with a value, by the keyword that it violates."""
    limit: Any = error.validator_value
    keyword = str(error.validator)
    if keyword == "type":
        return f"expected {_type_words(limit)}, got {shown}{_type_hint(error, limit)}"
    if keyword in ("enum", "const"):
        allowed = list(limit) if keyword == "enum" else [limit]
        meant = suggestion(error.instance, _texts(allowed)) if isinstance(error.instance, str) else ""
        return f"{shown} is not allowed here, expected {listed(allowed)}{meant}"
    if keyword == "pattern":
        return f"{shown} is not {_expected(schema) or f'of the form {limit}'}"
    if keyword in _LIMITS:
        return f"{shown} {_LIMITS[keyword](limit)}"
    return f"{shown} is not valid here: {keyword} {shorten(json.dumps(limit, default=str))}"


_LIMITS: Mapping[str, Callable[[Any], str]] = {
    "minimum": lambda limit: f"is less than {limit}",
    "maximum": lambda limit: f"is more than {limit}",
    "exclusiveMinimum": lambda limit: f"is not more than {limit}",
    "exclusiveMaximum": lambda limit: f"is not less than {limit}",
    "multipleOf": lambda limit: f"is not a multiple of {limit}",
    "minLength": lambda limit: f"is shorter than {limit} characters",
    "maxLength": lambda limit: f"is longer than {limit} characters",
    "minItems": lambda limit: f"has fewer than {limit} members",
    "maxItems": lambda limit: f"has more than {limit} members",
    "uniqueItems": lambda _: "holds the same member twice",
    "minProperties": lambda limit: f"has fewer than {limit} fields",
    "maxProperties": lambda limit: f"has more than {limit} fields",
    "dependentRequired": lambda limit: f"lacks a field that another one needs: {json.dumps(limit)}",
    "format": lambda limit: f"is not a valid {limit}",
}


def _type_hint(error: ValidationError, types: Any) -> str:
    value = error.instance
    wanted = {types} if isinstance(types, str) else set(types)
    if "boolean" in wanted and isinstance(value, str) and value.lower() in _BOOLEAN_WORDS:
        return ": write true or false"
    if "string" in wanted and isinstance(value, bool | int | float):
        return ": put it in quotes"
    return ""


def _texts(values: Iterable[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))
