"""Differences between desired and observed state, as data. One implementation of `ignore` for diff and apply.

Only fields that the desired state names are compared; a field that it no longer names is found against the state that
was last applied (three-way, as kubectl does). Called by `planner`, and by the executor to see whether something moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeGuard

from reconciler.model.plan import FieldDiff
from reconciler.model.resource import State
from reconciler.model.secret import SECRET_MARK

Place = tuple[Any, str | int]
"""A field: the place of what it stands in, and its name or index there. Its path is only made for one that differs."""

ROOT = "spec"
_ROOT: Place = (None, ROOT)
_MISSING = object()
_SCALARS = frozenset({str, int, float, bool, type(None)})
_PLAIN_KEY = re.compile(r"^[A-Za-z0-9_-]+\Z")
_DIGEST = re.compile(r"^[0-9a-f]{64}\Z")


def diff(desired: State, observed: State, applied: State = None, ignore: Sequence[str] = ()) -> tuple[FieldDiff, ...]:
    """Every field that differs, in document order; empty means "as desired".

    desired, observed, applied: plain JSON data in the kind's normal form, None for absent or never applied.
    ignore: paths such as `spec.replicas` or `spec.ports.*`; what lies below an ignored path is ignored too.
    """
    found: list[FieldDiff] = []
    _compare(found, _ROOT, desired, observed, _MISSING if applied is None else applied)
    return tuple(entry for entry in found if not is_ignored(entry.path, ignore))


def is_ignored(path: str, ignore: Iterable[str]) -> bool:
    """True when `path` is, or lies below, a path of `ignore`; `*` stands for any part, `[*]` for any list member."""
    return any(
        path == rule or path.startswith((rule + ".", rule + "[")) or ("*" in rule and _matches(path, rule))
        for rule in ignore
    )


def overlay(desired: State, observed: State, ignore: Sequence[str]) -> State:
    """The state to write: desired, but what is ignored stays as observed (or is left out where nothing is observed)."""
    if not ignore or desired is None:
        return desired
    return _overlay(ROOT, desired, observed, ignore)


def compared(desired: State, observed: State, applied: State = None, ignore: Sequence[str] = ()) -> State:
    """The part of the observed state that a diff looks at: what a fingerprint covers, and nothing else."""
    return _compared(ROOT, desired, observed, applied, ignore)


def owned(state: State, ignore: Sequence[str]) -> State:
    """The part of a state that is ours: without what is left to others."""
    return _owned(ROOT, state, ignore) if ignore else state


def fields(state: State) -> tuple[FieldDiff, ...]:
    """Every leaf of a state as an added field: how a plan shows what it creates."""
    found: list[FieldDiff] = []
    _add(found, ROOT, state)
    return tuple(found)


def _owned(path: str, state: Any, ignore: Sequence[str]) -> Any:
    if _is_plain_mapping(state):
        return {
            name: _owned(below, member, ignore)
            for name, member in state.items()
            if not is_ignored(below := join(path, name), ignore)
        }
    return [_owned(f"{path}[{index}]", one, ignore) for index, one in enumerate(state)] if _is_list(state) else state


def _compared(path: str, desired: Any, observed: Any, applied: Any, ignore: Sequence[str]) -> Any:
    if not (_is_plain_mapping(desired) and _is_plain_mapping(observed)):
        return observed
    before = applied if isinstance(applied, Mapping) else {}
    return {
        name: _compared(below, desired.get(name), observed[name], before.get(name), ignore)
        for name in {**desired, **before}
        if name in observed and not is_ignored(below := join(path, name), ignore)
    }


def _compare(found: list[FieldDiff], place: Place, desired: Any, observed: Any, applied: Any) -> None:
    """Append every difference; a list, because each level of nested iterators would hand on every difference."""
    if _is_plain_mapping(desired) and _is_plain_mapping(observed):
        _compare_mappings(found, place, desired, observed, applied if _is_mapping(applied) else {})
    elif _is_list(desired) and _is_list(observed):
        _compare_lists(found, place, desired, observed, applied if _is_list(applied) else ())
    elif not _same(desired, observed):
        found.append(_entry(_path(place), None if observed is _MISSING else observed, desired))


def _compare_mappings(
    found: list[FieldDiff],
    place: Place,
    desired: Mapping[str, Any],
    observed: Mapping[str, Any],
    applied: Mapping[str, Any],
) -> None:
    for name, wanted in desired.items():
        there = observed.get(name, _MISSING)
        if wanted.__class__ in _SCALARS and wanted.__class__ is there.__class__ and wanted == there:
            continue  # most fields of most resources
        _compare(found, (place, name), wanted, there, applied.get(name, _MISSING))
    if applied.keys() <= desired.keys():
        return
    for name in applied:
        if name not in desired and observed.get(name) is not None:
            found.append(_entry(_path((place, name)), observed[name], None))


def _compare_lists(
    found: list[FieldDiff], place: Place, desired: Sequence[Any], observed: Sequence[Any], applied: Sequence[Any]
) -> None:
    for index, wanted in enumerate(desired):
        there = observed[index] if index < len(observed) else _MISSING
        _compare(found, (place, index), wanted, there, applied[index] if index < len(applied) else _MISSING)
    for index in range(len(desired), len(observed)):
        found.append(_entry(_path((place, index)), observed[index], None))


def _path(place: Place) -> str:
    """The path of a place: `spec.ports["a.b"][0]`."""
    above, part = place
    if above is None:
        return str(part)
    return f"{_path(above)}[{part}]" if isinstance(part, int) else join(_path(above), part)


def _same(desired: Any, observed: Any) -> bool:
    if observed is _MISSING:
        return desired is None
    if isinstance(desired, bool) is not isinstance(observed, bool):
        return False
    return bool(desired == observed)


def _entry(path: str, before: Any, after: Any) -> FieldDiff:
    secret = _is_secret(before) or _is_secret(after)
    if secret:
        return FieldDiff(path, None if before is None else SECRET_MARK, None if after is None else SECRET_MARK, True)
    return FieldDiff(path, _without_secrets(before), _without_secrets(after))


def _add(found: list[FieldDiff], path: str, value: Any) -> None:
    """Append every leaf below a path."""
    if _is_plain_mapping(value) and value:
        for name, member in value.items():
            _add(found, join(path, name), member)
    elif _is_list(value) and value:
        for index, member in enumerate(value):
            _add(found, f"{path}[{index}]", member)
    elif value is not None:
        found.append(_entry(path, None, value))


def _overlay(path: str, desired: Any, observed: Any, ignore: Sequence[str]) -> Any:
    if _is_plain_mapping(desired):
        there = observed if isinstance(observed, Mapping) else {}
        merged: dict[str, Any] = {}
        for name in {**desired, **{name: None for name in there if is_ignored(join(path, name), ignore)}}:
            below = join(path, name)
            if not is_ignored(below, ignore):
                merged[name] = _overlay(below, desired[name], there.get(name), ignore)
            elif name in there:
                merged[name] = there[name]
        return merged
    return _overlay_list(path, desired, observed, ignore) if _is_list(desired) and _is_list(observed) else desired


def _overlay_list(path: str, desired: Sequence[Any], observed: Sequence[Any], ignore: Sequence[str]) -> list[Any]:
    """Members by place: what is ignored stays as observed, also behind the end of the desired ones."""
    merged: list[Any] = []
    for index in range(max(len(desired), len(observed))):
        below = f"{path}[{index}]"
        if index < len(observed) and is_ignored(below, ignore):
            merged.append(observed[index])
        elif index < len(desired):
            there = observed[index] if index < len(observed) else None
            merged.append(_overlay(below, desired[index], there, ignore))
        else:
            break
    return merged


def _matches(path: str, rule: str) -> bool:
    pattern = rule.replace("[", "[[]").replace("?", "[?]")  # only `*` is special
    return any(fnmatchcase(path, pattern + below) for below in ("", ".*", "[[]*"))


def join(path: str, name: str) -> str:
    """A path one level deeper; keys with dots or brackets are quoted."""
    return f"{path}.{name}" if _PLAIN_KEY.match(name) else f'{path}["{name}"]'


def _without_secrets(value: Any) -> Any:
    if _is_secret(value):
        return SECRET_MARK
    if isinstance(value, Mapping):
        return {name: _without_secrets(member) for name, member in value.items()}
    return [_without_secrets(member) for member in value] if _is_list(value) else value


def _is_secret(value: Any) -> bool:
    """The stored form of a Secret: a mapping with just `secret`, a digest."""
    if not _is_mapping(value) or len(value) != 1:
        return False
    held = value.get("secret")
    return isinstance(held, str) and _DIGEST.match(held) is not None


def _is_plain_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return _is_mapping(value) and (len(value) != 1 or not _is_secret(value))


def _is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return value.__class__ is dict or isinstance(value, Mapping)  # the latter alone takes five times as long


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
