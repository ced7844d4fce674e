"""Finds the marked fields of a spec (`x-secret`, `x-file`, `x-late`), wherever a kind's schema puts them.

A schema is compiled once to a tree that holds only the ways to marked fields, so a kind without any costs nothing and
the others pay for those fields alone. In `oneOf`, `anyOf` and `if` only the branches that the value fits count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from reconciler.loading.reader import Path

if TYPE_CHECKING:
    import jsonschema_rs

Mark = Literal["secret", "file", "file-anywhere", "late"]
Visit = Callable[[Mark, Any, Path], Any]
"""Called with a mark, the value of the marked field and its path; returns what shall stand in its place."""

_URI = "urn:reconciler:document"


def marks_of(schema: Mapping[str, Any]) -> tuple[Mark, ...]:
    """The marks that a subschema itself carries."""
    found: list[Mark] = []
    if schema.get("x-secret") is True:
        found.append("secret")
    if (named := schema.get("x-file")) in (True, "anywhere"):
        found.append("file" if named is True else "file-anywhere")
    if schema.get("x-late") is True:
        found.append("late")
    return tuple(found)


@dataclass(slots=True, eq=False)
class Extractor:
    """The ways from one value to the marked fields at and below it."""

    marks: tuple[Mark, ...] = ()
    properties: dict[str, Extractor] = field(default_factory=dict)
    patterns: list[tuple[re.Pattern[str], Extractor]] = field(default_factory=list)
    additional: Extractor | None = None
    prefix: list[Extractor | None] = field(default_factory=list)
    elements: Extractor | None = None
    always: list[Extractor] = field(default_factory=list)
    fitting: list[tuple[_Fits, bool, Extractor]] = field(default_factory=list)

    def extract(self, value: Any, path: Path, visit: Visit) -> Any:
        """`value` with every marked field replaced by what `visit` returned; the original is not touched."""
        replaced = value
        for mark in self.marks:
            replaced = visit(mark, replaced, path)
        if replaced is not value:
            return replaced
        fitting = [other for fits, wanted, other in self.fitting if fits(value) is wanted]
        if isinstance(value, dict) and (self.properties or self.patterns or self.additional):
            value = self._of_mapping(value, path, visit)
        elif isinstance(value, list) and (self.prefix or self.elements):
            value = self._of_list(value, path, visit)
        for other in (*self.always, *fitting):
            value = other.extract(value, path, visit)
        return value

    def _of_mapping(self, value: dict[str, Any], path: Path, visit: Visit) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for name, member in value.items():
            result = member
            for extractor in self._for_name(name):
                result = extractor.extract(result, (*path, name), visit)
            if result is not member:
                changed[name] = result
        return {**value, **changed} if changed else value

    def _for_name(self, name: str) -> Iterator[Extractor]:
        if own := self.properties.get(name):
            yield own
        yield from (extractor for pattern, extractor in self.patterns if pattern.search(name))
        if self.additional is not None and own is None:
            yield self.additional

    def _of_list(self, value: list[Any], path: Path, visit: Visit) -> list[Any]:
        result = list(value)
        for index, member in enumerate(value):
            extractor = self.prefix[index] if index < len(self.prefix) else self.elements
            if extractor is not None:
                result[index] = extractor.extract(member, (*path, index), visit)
        return result

    def children(self) -> Iterator[Extractor]:
        """The extractors that this one leads to."""
        yield from self.properties.values()
        yield from (extractor for _, extractor in self.patterns)
        yield from (extractor for extractor in (self.additional, self.elements, *self.prefix) if extractor)
        yield from self.always
        yield from (extractor for _, _, extractor in self.fitting)

    def keep(self, leading: set[int]) -> None:
        """Forget the ways to extractors that are not in `leading` (by id)."""
        self.properties = {name: child for name, child in self.properties.items() if id(child) in leading}
        self.patterns = [(pattern, child) for pattern, child in self.patterns if id(child) in leading]
        self.additional = self.additional if id(self.additional) in leading else None
        self.elements = self.elements if id(self.elements) in leading else None
        self.prefix = [child if id(child) in leading else None for child in self.prefix]
        self.always = [child for child in self.always if id(child) in leading]
        self.fitting = [(fits, wanted, child) for fits, wanted, child in self.fitting if id(child) in leading]


class _Fits:
    """Whether a value fits one subschema of a document schema; compiled when first asked."""

    def __init__(self, root: Mapping[str, Any], pointer: str) -> None:
        self._root = root
        self._pointer = pointer
        self._validator: jsonschema_rs.Draft202012Validator | None = None

    def __call__(self, value: Any) -> bool:
        if self._validator is None:
            import jsonschema_rs  # noqa: PLC0415  # 20 ms, and loaded by now

            registry = jsonschema_rs.Registry([(_URI, {**self._root, "$id": _URI})])
            self._validator = jsonschema_rs.Draft202012Validator(
                {"$ref": _URI + self._pointer}, registry=registry, offline=True
            )
        return self._validator.is_valid(value)


def compile_extractor(root: Mapping[str, Any], pointer: str) -> Extractor | None:
    """The extractor for the subschema of `root` at `pointer` (`#/…`); None when no marked field lies at or below it."""
    compiler = _Compiler(root)
    top = compiler.compile(pointer)
    everything = list(compiler.known.values())
    leading = {id(extractor) for extractor in everything if extractor.marks}
    size = -1
    while size != len(leading):
        size = len(leading)
        leading |= {id(one) for one in everything if any(id(child) in leading for child in one.children())}
    if id(top) not in leading:
        return None
    for extractor in everything:
        extractor.keep(leading)
    return top


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.known: dict[str, Extractor] = {}
        self._root = root

    def compile(self, pointer: str) -> Extractor:
        """The extractor of the subschema at `pointer`; one each, so that recursive schemas end."""
        if pointer in self.known:
            return self.known[pointer]
        extractor = self.known[pointer] = Extractor()
        schema = resolve_pointer(self._root, pointer)
        if isinstance(schema, Mapping):
            extractor.marks = marks_of(schema)
            if "secret" not in extractor.marks:  # below it stands the reference, not the field
                self._add_members(extractor, schema, pointer)
                self._add_branches(extractor, schema, pointer)
        return extractor

    def _add_members(self, extractor: Extractor, schema: Mapping[str, Any], pointer: str) -> None:
        for name in schema.get("properties", ()):
            extractor.properties[name] = self.compile(f"{pointer}/properties/{_escape(name)}")
        for pattern in schema.get("patternProperties", ()):
            child = self.compile(f"{pointer}/patternProperties/{_escape(pattern)}")
            extractor.patterns.append((re.compile(pattern), child))
        for keyword in ("additionalProperties", "unevaluatedProperties"):
            if isinstance(schema.get(keyword), Mapping):
                extractor.additional = self.compile(f"{pointer}/{keyword}")
        for index in range(len(schema.get("prefixItems", ()))):
            extractor.prefix.append(self.compile(f"{pointer}/prefixItems/{index}"))
        if isinstance(schema.get("items"), Mapping):
            extractor.elements = self.compile(f"{pointer}/items")

    def _add_branches(self, extractor: Extractor, schema: Mapping[str, Any], pointer: str) -> None:
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            extractor.always.append(self.compile(reference))
        extractor.always.extend(self.compile(f"{pointer}/allOf/{i}") for i in range(len(schema.get("allOf", ()))))
        for keyword in ("anyOf", "oneOf"):
            for index in range(len(schema.get(keyword, ()))):
                branch = f"{pointer}/{keyword}/{index}"
                extractor.fitting.append((_Fits(self._root, branch), True, self.compile(branch)))
        if "if" in schema:
            condition = _Fits(self._root, f"{pointer}/if")
            for keyword, wanted in (("then", True), ("else", False)):
                if keyword in schema:
                    extractor.fitting.append((condition, wanted, self.compile(f"{pointer}/{keyword}")))


def resolve_pointer(root: Mapping[str, Any], pointer: str) -> Any:
    """What stands at a JSON pointer with a leading `#`. Raises KeyError when nothing does."""
    value: Any = root
    for part in pointer.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list | tuple) else value[name]
    return value


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
