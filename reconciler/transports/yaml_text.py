"""YAML that is no spec: manifests, kubeconfigs, values of the command line. Called by all that reads such text.

The loader in C walks nested collections by recursion, and a few thousand brackets end the process without an error, so
depth is counted on the parser's events first, which need no recursion. A text that is JSON throughout is read as JSON,
as kubectl does.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 100
_SEPARATOR = re.compile(r"^---[ \t]*\r?$", re.MULTILINE)
_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def load_yaml_documents(text: str | bytes, loader: Any = None) -> list[Any]:
    """Every document, by the safe loader in C or a subclass of it. Raises yaml.YAMLError, also for deep nesting.

    Documents of plain values are built straight from the parser's events: that takes a third of the time. Those that
    programs write as JSON take a tenth of that.
    """
    if isinstance(text, str) and (written := _json_documents(text)) is not None:
        return written
    import yaml  # noqa: PLC0415 - costs 20 ms, and who imports this may never read any

    chosen = loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(yaml, chosen(text))
    documents = builder.documents()
    return documents if builder.is_plain else list(yaml.load_all(text, chosen))


def _json_documents(text: str) -> list[Any] | None:
    """The documents of a text of JSON objects between lines of `---`; None for any other text, and for a doubtful one.

    Doubtful is what JSON lets pass and YAML does not: deep nesting, half of a surrogate pair, numbers that are none.
    """
    if not text.lstrip("-\r\n\t ").startswith("{") or _HALF_A_PAIR.search(text):
        return None
    first, *others = _SEPARATOR.split(text)
    parts = others if others and not first.strip() else [first, *others]
    decode = json.JSONDecoder(parse_constant=_refuse).decode
    try:
        found = [decode(part) if part.strip() else None for part in parts]
    except (ValueError, RecursionError):
        return None
    return None if _is_too_deep(found) else found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _is_too_deep(documents: list[Any]) -> bool:
    level: list[Any] = [documents]
    for _ in range(MAX_DEPTH + 1):
        members = (member for one in level for member in (one.values() if type(one) is dict else one))
        level = [member for member in members if type(member) is dict or type(member) is list]
        if not level:
            return False
    return True


class _Builder:
    """Builds documents of mappings with scalar keys, lists and scalars, in a loop with a stack of its own.

    What needs more (tags, aliases, merge keys) clears `is_plain`; it is then only seen how deep everything is.
    """

    def __init__(self, yaml: Any, loader: Any) -> None:
        self._yaml = yaml
        self._loader = loader
        self._scalars: dict[str, Any] = {}
        self.is_plain = True

    def documents(self) -> list[Any]:
        """Every document; nothing of use unless `is_plain`. Raises yaml.YAMLError."""
        yaml, next_event = self._yaml, self._loader.get_event
        found: list[Any] = []
        stack: list[tuple[Any, Any]] = []
        holder: Any = found
        key: Any = _NO_KEY
        while (event := next_event()) is not None:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                value = self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(stack) >= MAX_DEPTH:
                    message = f"nested in more than {MAX_DEPTH} levels"
                    raise yaml.MarkedYAMLError(None, None, message, event.start_mark)
                if event.tag is not None or event.anchor is not None or (type(holder) is dict and key is _NO_KEY):
                    self.is_plain = False
                stack.append((holder, key))
                holder, key = ({} if kind is yaml.MappingStartEvent else []), _NO_KEY
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                value = holder
                holder, key = stack.pop()
            else:
                self.is_plain = self.is_plain and kind is not yaml.AliasEvent
                continue
            if type(holder) is list:
                holder.append(value)
            elif key is _NO_KEY:
                key = value if self._is_key(value) else None
            else:
                holder[key] = value
                key = _NO_KEY
        return found

    def _is_key(self, value: Any) -> bool:
        self.is_plain = self.is_plain and value != "<<" and isinstance(value, str | int | float | bool | None)
        return self.is_plain

    def _scalar(self, event: Any) -> Any:
        """What a scalar means to the loader; each plain text is asked for once."""
        if event.tag is not None or event.anchor is not None:
            self.is_plain = False
            return None
        if not event.implicit[0]:
            return event.value
        text: str = event.value
        if text not in self._scalars:
            node = self._yaml.ScalarNode(self._loader.resolve(self._yaml.ScalarNode, text, (True, False)), text)
            try:
                self._scalars[text] = self._loader.construct_object(node)
            except (self._yaml.YAMLError, ValueError):  # a merge key, or no number after all
                self.is_plain = False
                return None
        return self._scalars[text]


_NO_KEY: Any = object()


def load_yaml(text: str | bytes) -> Any:
    """The one document of a text, None for none. Raises yaml.YAMLError."""
    import yaml  # noqa: PLC0415 - likewise

    documents = load_yaml_documents(text)
    if len(documents) > 1:
        raise yaml.YAMLError("more than one document")
    return documents[0] if documents else None
