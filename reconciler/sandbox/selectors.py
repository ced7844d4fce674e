"""Label and field selectors: parsed once a request, matched against objects. Pure; called by `verbs` and `watching`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import SpecError

_KEY = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?"
_VALUE = re.compile(r"^(?:[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?$")
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_COMPARED = re.compile(rf"^({_KEY})\s*(==|=|!=|>|<)\s*(\S*)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: operator is in, notin, exists, absent, gt or lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, Any]) -> bool:
        """Whether `labels` satisfy this term."""
        if self.operator == "exists":
            return self.key in labels
        if self.operator == "absent":
            return self.key not in labels
        if self.operator == "notin":
            return self.key not in labels or labels[self.key] not in self.values
        if self.key not in labels:
            return False
        if self.operator == "in":
            return labels[self.key] in self.values
        return self._compares(labels[self.key])

    def _compares(self, value: Any) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "gt" else left < right


Selector = tuple[Requirement, ...]


def matches(selector: Selector, labels: Mapping[str, Any] | None) -> bool:
    """Whether `labels` satisfy every requirement; an empty selector matches all."""
    return all(requirement.matches(labels or {}) for requirement in selector)


def _terms(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    terms, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            terms.append(text[start:index])
            start = index + 1
    return [term.strip() for term in [*terms, text[start:]]]


def parse_labels(text: str) -> Selector:
    """`a=b,c!=d,e in (f,g),h,!i` as requirements. SpecError when it is malformed."""
    if not text.strip():
        return ()
    return tuple(_parse_term(term) for term in _terms(text))


def _parse_term(term: str) -> Requirement:
    if matched := _SET.match(term):
        values = frozenset(value.strip() for value in matched[3].split(","))
        return Requirement(matched[1], matched[2], _checked(values))
    if matched := _COMPARED.match(term):
        operator = {"!=": "notin", ">": "gt", "<": "lt"}.get(matched[2], "in")
        return Requirement(matched[1], operator, _checked(frozenset([matched[3]])))
    if matched := _EXISTS.match(term):
        return Requirement(matched[2], "absent" if matched[1] else "exists")
    raise SpecError("BadSelector", f"unable to parse requirement: {term!r}")


def _checked(values: frozenset[str]) -> frozenset[str]:
    for value in values:
        if not _VALUE.match(value):
            raise SpecError("BadSelector", f"unable to parse requirement: {value!r} is no label value")
    return values


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """The requirements of a LabelSelector object (`matchLabels`, `matchExpressions`)."""
    selector = selector or {}
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    equal = [Requirement(key, "in", frozenset([value])) for key, value in (selector.get("matchLabels") or {}).items()]
    expressed = [
        Requirement(one["key"], operators.get(one["operator"], "in"), frozenset(one.get("values") or ()))
        for one in selector.get("matchExpressions") or ()
    ]
    return tuple(equal + expressed)


FieldTerm = tuple[str, bool, str]
Matcher = Callable[[Mapping[str, Any]], bool]


def parse_fields(text: str, supported: frozenset[str]) -> tuple[FieldTerm, ...]:
    """`metadata.name=a,status.phase!=Running` as (path, equal, value). SpecError on a path that is not `supported`."""
    terms: list[FieldTerm] = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        matched = re.match(r"^([^=!]+)(==|=|!=)(.*)$", term)
        if matched is None:
            raise SpecError("BadSelector", f"invalid selector: {term!r}; can't understand it")
        path = matched[1].strip()
        if path not in supported:
            raise SpecError("BadSelector", f"field label not supported: {path}")
        terms.append((path, matched[2] != "!=", matched[3].strip()))
    return tuple(terms)


def field_value(value: Mapping[str, Any], path: str) -> str:
    """The field at a dotted path as text; "" when it is absent."""
    found: Any = value
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        return ""
    return str(found).lower() if isinstance(found, bool) else str(found)


def fields_match(terms: tuple[FieldTerm, ...], value: Mapping[str, Any]) -> bool:
    """Whether `value` satisfies every field term."""
    return all((field_value(value, path) == wanted) is equal for path, equal, wanted in terms)
