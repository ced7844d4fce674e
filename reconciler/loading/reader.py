"""YAML bytes to plain documents with their places, for the loader, `vars.yaml` and the settings.

Documents are built straight from the parser's events, in a loop with a stack of its own: no node tree, no recursion
that deep nesting could exhaust, and every refusal knows its line and column. What is read is the part of YAML that has
one meaning to everybody:

    null ~ and nothing          null
    true false                  booleans; yes, no, on, off and True stay strings
    12 -7                       integers below 2^63; 010, 0o17, 0x1f, 1_000, 1:30 and +5 stay strings
    1.5 -2.25e+3                finite numbers; 1e3 (which may be a commit) stays a string, .inf and .nan are refused
    2024-01-01                  a string

Tags, duplicate keys, keys that are no strings, merge keys and cyclic aliases are refused. Limits hold after aliases are
expanded: 10 MB, 100,000 nodes and 64 levels a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from reconciler.errors import SpecError
from reconciler.loading.text import is_clean, place_of, shorten

MAX_BYTES = 10_000_000
MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_INTEGER = 2**63

Path = tuple[str | int, ...]
Places = Mapping[Path, tuple[int, int]]
"""Line and column, from 1, of each value of a document; of its key where it has one."""

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+(?:[eE][-+]?[0-9]+)?)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_NUMERIC = frozenset("-+.0123456789")
_SPECIAL_KEYS = frozenset({*_WORDS, "<<"})
_AWAITED = object()
_COLLECTION_AS_KEY = "a key must be a string (a value that starts with {{ needs quotes)"


class YamlError(SpecError):
    """Text that is no acceptable YAML. line and column from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__("InvalidYaml", message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. value: plain JSON data. index: its number in the file, from 0. line, column: from 1."""

    value: Any
    index: int
    line: int
    column: int


def read_documents(content: bytes) -> list[Document]:
    """The documents of a file, empty ones left out. Raises YamlError for what is broken or not allowed."""
    _check_encoding(content)
    try:
        return _Builder(content).documents()
    except yaml.YAMLError as error:
        raise _from_yaml_error(error, content) from error


def read_places(content: bytes) -> list[Places]:
    """The places of everything in each document of a file that `read_documents` accepted, empty ones included.

    A second pass, made only once something is wrong, so that correct files do not pay for positions.
    """
    next_event = _parser(content)
    places: list[Places] = []
    while (event := next_event()) is not None:
        if isinstance(event, DocumentStartEvent):
            places.append(_places(next_event))
    return places


def nearest_place(places: Places, path: Path) -> tuple[int, int]:
    """Where `path` is, or else the closest thing around it that is written in the document; (0, 0) for none."""
    for length in range(len(path), -1, -1):
        if place := places.get(path[:length]):
            return place
    return 0, 0


def plain_scalar(text: str) -> Any:
    """What an unquoted scalar means. Raises ValueError for a number that JSON cannot carry."""
    if text[:1] in "-0123456789" and (match := _NUMBER.match(text)):
        return _number(text, is_integer=match.group(1) is None)
    if _NOT_FINITE.match(text):
        raise ValueError(f"{text} is not a finite number")
    return _WORDS.get(text, text)


def _number(text: str, *, is_integer: bool) -> int | float:
    if is_integer:
        if len(text) > 20 or not -MAX_INTEGER <= (whole := int(text)) < MAX_INTEGER:
            raise ValueError(f"{shorten(text)} is too large for a number: put it in quotes if it is text")
        return whole
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{shorten(text)} is too large for a number: put it in quotes if it is text")
    return value


def _check_encoding(content: bytes) -> None:
    """Raise YamlError for what is too large or not UTF-8: the parser alone would accept UTF-16 as well."""
    if len(content) > MAX_BYTES:
        raise YamlError(f"has {len(content):,} bytes, more than {MAX_BYTES:,}", 1, 1)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = content[error.start]
        raise YamlError(f"is not UTF-8: byte 0x{bad:02x}", *place_of(content, error.start)) from error


def _parser(content: bytes) -> Callable[[], Event | None]:
    """A function that returns the next event, None at the end."""
    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(content)
    return parser.get_event


def _from_yaml_error(error: yaml.YAMLError, content: bytes) -> YamlError:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = ", ".join(part for part in (error.problem, error.context) if part) or "is not YAML"
        lines = content.splitlines()
        if mark and mark.line < len(lines) and b"\t" in lines[mark.line][: mark.column + 1]:
            message += ": a tab cannot indent, use spaces"
        return YamlError(message, line, column)
    if isinstance(error, yaml.reader.ReaderError):
        position = error.position if isinstance(error.position, int) else 0
        code = error.character if isinstance(error.character, int) else None
        shown = f" (U+{code:04X})" if code is not None else ""
        return YamlError(f"{error.reason}{shown}", *place_of(content, position))
    return YamlError(shorten(str(error)), 1, 1)


class _Builder:
    """Builds documents from events. One instance a file, so that its limits are the file's."""

    def __init__(self, content: bytes) -> None:
        self._next_event = _parser(content)
        self._has_escapes = b"\\" in content
        self._nodes = 0
        self._expanded_bytes = 0
        self._anchors: dict[str, Any] = {}

    def documents(self) -> list[Document]:
        """Everything that is left of the file."""
        found: list[Document] = []
        index = -1
        while (event := self._next_event()) is not None:
            if event.__class__ is DocumentStartEvent:
                index += 1
                self._anchors.clear()
                root: Any = self._next_event()
                value = self._root(root)
                if value is not None:
                    mark = root.start_mark
                    found.append(Document(value, index, mark.line + 1, mark.column + 1))
        return found

    def _root(self, event: Any) -> Any:
        if event.__class__ is AliasEvent:
            raise _refusal(event, f"alias *{shorten(str(event.anchor))} is not defined before")
        if event.__class__ is ScalarEvent:
            self._nodes += 1
            self._check(event, 0)
            return _scalar(event)
        return self._collection(event)

    def _collection(self, event: Any) -> Any:  # the hot loop: a usual scalar costs one turn and no call of ours
        """The mapping or list that `event` starts."""
        next_event, has_escapes = self._next_event, self._has_escapes
        stack: list[tuple[Any, Any, Any]] = []
        container: Any = None
        key: Any = None  # None in a list; in a mapping the key that waits for its value, _AWAITED before it came
        while True:
            kind = event.__class__
            if kind is ScalarEvent:
                self._nodes += 1
                if self._nodes > MAX_NODES or has_escapes or event.tag is not None or event.anchor is not None:
                    self._check(event, 0)
                value = event.value
                if key is _AWAITED:
                    if value in container or value in _SPECIAL_KEYS or value[0] in _NUMERIC:
                        _check_key(event, container)
                    key = value
                    event = next_event()
                    continue
                if event.implicit[0]:
                    if value in _WORDS:
                        value = _WORDS[value]
                    elif value[0] in _NUMERIC:
                        value = _scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._nodes += 1
                self._check(event, len(stack) + 1)
                if key is _AWAITED:
                    raise _refusal(event, _COLLECTION_AS_KEY)
                stack.append((container, key, event.anchor))
                container, key = ({}, _AWAITED) if kind is MappingStartEvent else ([], None)
                event = next_event()
                continue
            elif kind is AliasEvent:
                if key is _AWAITED:
                    raise _refusal(event, "a key cannot be an alias")
                value = self._alias(event, len(stack))
            else:
                value = container
                container, key, anchor = stack.pop()
                if anchor is not None:
                    self._anchors[anchor] = value
                if not stack:
                    return value
            if key is None:
                container.append(value)
            else:
                container[key] = value
                key = _AWAITED
            event = next_event()

    def _check(self, event: Any, depth: int) -> None:
        """Raise YamlError where a node is not allowed; remember an anchored scalar."""
        self._check_limits(event, depth)
        if event.tag is not None:
            raise _refusal(event, f"tag {shorten(event.tag)} is not allowed: write plain values")
        if event.__class__ is ScalarEvent:
            if not is_clean(event.value):
                raise _refusal(event, "holds a NUL or half of a surrogate pair")
            if event.anchor is not None:
                self._anchors[event.anchor] = _scalar(event)

    def _check_limits(self, event: Any, depth: int) -> None:
        if self._nodes > MAX_NODES:
            raise _refusal(event, f"has more than {MAX_NODES:,} nodes")
        if depth > MAX_DEPTH:
            raise _refusal(event, f"is nested more than {MAX_DEPTH} levels deep")

    def _alias(self, event: Any, depth: int) -> Any:
        """The value behind an alias, counted as if it were written out."""
        if event.anchor not in self._anchors:
            raise _refusal(event, f"alias *{shorten(str(event.anchor))} is not defined before, or lies inside itself")
        value = self._anchors[event.anchor]
        nodes, size, levels = weigh(value)
        self._nodes += nodes
        self._expanded_bytes += size
        self._check_limits(event, depth + levels)
        if self._expanded_bytes > MAX_BYTES:
            raise _refusal(event, f"has more than {MAX_BYTES:,} bytes once its aliases are expanded")
        return value


def weigh(value: Any) -> tuple[int, int, int]:
    """How many nodes, characters and levels of nesting a value has."""
    nodes = size = levels = 0
    waiting = [(value, 1)]
    while waiting:
        node, level = waiting.pop()
        nodes += 1
        if isinstance(node, dict):
            nodes += len(node)
            size += sum(map(len, node))
            waiting.extend((member, level + 1) for member in node.values())
        elif isinstance(node, list):
            waiting.extend((member, level + 1) for member in node)
        else:
            size += len(str(node))
            level -= 1
        levels = max(levels, level)
    return nodes, size, levels


def _scalar(event: Any) -> Any:
    if not event.implicit[0]:
        return event.value
    try:
        return plain_scalar(event.value)
    except ValueError as error:
        raise _refusal(event, str(error)) from error


def _check_key(event: Any, container: Mapping[str, Any]) -> None:
    text = event.value
    if text in container:
        raise _refusal(event, f"duplicate key {shorten(text)}")
    if event.implicit[0]:
        if text == "<<":
            raise _refusal(event, "merge keys (<<) are not supported: write the fields out")
        if not isinstance(_scalar(event), str):
            raise _refusal(event, f"key {shorten(text) or 'nothing'} is not a string: put it in quotes")


def _refusal(event: Any, message: str) -> YamlError:
    mark = event.start_mark
    return YamlError(message, mark.line + 1, mark.column + 1)


def _places(next_event: Callable[[], Event | None]) -> Places:
    """The places of the document whose start event was just read."""
    places: dict[Path, tuple[int, int]] = {}
    stack: list[tuple[Path, Any]] = []  # of each open collection: its path, and its next index or the key that waits
    while True:
        event: Any = next_event()
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            stack.pop()
        else:
            mark = event.start_mark
            place = (mark.line + 1, mark.column + 1)
            path: Path = ()
            if stack:
                base, member = stack[-1]
                if member is _AWAITED:
                    stack[-1] = (base, event.value)
                    places[(*base, event.value)] = place
                    continue
                path = (*base, member)
                stack[-1] = (base, member + 1 if isinstance(member, int) else _AWAITED)
            places.setdefault(path, place)
            if isinstance(event, MappingStartEvent):
                stack.append((path, _AWAITED))
            elif isinstance(event, SequenceStartEvent):
                stack.append((path, 0))
        if not stack:
            return places
