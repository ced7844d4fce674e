"""A live object cut down to what can be compared with its manifest. Pure; for kinds whose resources are objects.

Kept is what the manifest names, and what we own by server-side apply (the field manager's own list says so): a field
that was dropped from the manifest is still ours, so the planner finds it. Dropped is what others set and what the
server fills in. In lists whose members have a key (containers, ports) members are matched by it. Nothing, `""`, `0`,
`false` and empty members count as equal, because servers leave them out; so do equal quantities (`1000m` and `1`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeGuard

from reconciler.model.marks import FIELD_MANAGER

_QUANTITY_PARENTS = frozenset({"limits", "requests", "capacity", "hard", "sizeLimit", "divisor"})
_SUFFIXES = {
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "m": Decimal("0.001"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}
_MISSING: Any = object()
_NAME_KEYS = ("name", "key", "mountPath", "containerPort", "port", "type", "ip")

Fields = Mapping[str, Any]
"""One level of `fieldsV1`: `f:name` for members, `k:{…}` for members of a list by key."""


def comparable(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `live` that is compared with `wanted`; wanted {} leaves what we own."""
    owned = _owned(live)
    named = {name: live[name] for name in ("apiVersion", "kind") if name in live}
    metadata = live.get("metadata", {})
    identity = {name: metadata[name] for name in ("name", "namespace") if name in wanted.get("metadata", {"name": ""})}
    rest = _mapping(live, wanted, owned, quantities=False)
    rest.pop("status", None)
    return {**rest, **named, "metadata": {**rest.get("metadata", {}), **identity}}


def _owned(live: Mapping[str, Any]) -> Fields:
    """What our last server-side apply set."""
    for entry in live.get("metadata", {}).get("managedFields") or ():
        is_main = not entry.get("subresource")
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and is_main:
            fields: Fields = entry.get("fieldsV1") or {}
            return fields
    return {}


def _mapping(live: Mapping[str, Any], wanted: Any, owned: Fields, *, quantities: bool) -> dict[str, Any]:
    wishes: Mapping[str, Any] = wanted if _is_mapping(wanted) else {}
    kept: dict[str, Any] = {}
    for name, member in live.items():
        mine = owned.get(f"f:{name}")
        wish = wishes.get(name, _MISSING)
        if wish is member or (wish == member and member.__class__ is str):  # most members by far
            kept[name] = member
        elif wish is not _MISSING or mine is not None:
            below = quantities or name in _QUANTITY_PARENTS
            kept[name] = _value(member, wish, mine or {}, quantities=below)
    for name, wish in wishes.items():
        if name not in live and not wish:
            kept[name] = wish
    return kept


def _value(live: Any, wanted: Any, owned: Fields, *, quantities: bool) -> Any:
    if _is_mapping(live) and (_is_mapping(wanted) or wanted is _MISSING):
        whole = wanted is _MISSING and not any(name.startswith("f:") for name in owned)
        return dict(live) if whole else _mapping(live, wanted, owned, quantities=quantities)
    if isinstance(live, list) and (isinstance(wanted, list) or wanted is _MISSING):
        return _list(live, [] if wanted is _MISSING else wanted, owned, quantities=quantities)
    if quantities and wanted is not _MISSING and _same_quantity(live, wanted):
        return wanted
    return live


def _is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return value.__class__ is dict or isinstance(value, Mapping)  # the latter alone takes five times as long


def _list(live: Sequence[Any], wanted: Sequence[Any], owned: Fields, *, quantities: bool) -> list[Any]:
    values = [json.loads(text[2:]) for text in owned if text.startswith("v:")]
    if values:
        ours = [one for one in live if one in values and one not in wanted]
        return [*(wish for wish in wanted if wish in live), *ours]
    keys = {text: json.loads(text[2:]) for text in owned if text.startswith("k:")}
    names = _key_names(live, wanted, keys)
    if not names:
        padded = [*wanted, *[_MISSING] * len(live)]
        return [_value(one, wish, {}, quantities=quantities) for one, wish in zip(live, padded, strict=False)]
    left = list(live)
    kept: list[Any] = []
    for wish in wanted:
        match = next((one for one in left if _agree(one, wish, names)), None)
        if match is not None:
            left.remove(match)
            kept.append(_value(match, wish, _fields_of(match, owned, keys), quantities=quantities))
    kept.extend(one for one in left if any(_agree(one, key, tuple(key)) for key in keys.values()))
    return kept


def _key_names(live: Sequence[Any], wanted: Sequence[Any], keys: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields that tell the members of a list apart; none for a list that is compared as a whole."""
    if keys:
        return tuple(next(iter(keys.values())))
    members = [*live, *wanted]
    if not members or not all(isinstance(one, Mapping) for one in members):
        return ()
    return next(((name,) for name in _NAME_KEYS if all(name in one for one in members)), ())


def _agree(one: Any, other: Any, names: Sequence[str]) -> bool:
    """Same key. A manifest may leave a part of it to the server's default, such as a port's protocol."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    return any(name in other for name in names) and all(
        one.get(name) == other.get(name, one.get(name)) for name in names
    )


def _fields_of(member: Any, owned: Fields, keys: Mapping[str, Mapping[str, Any]]) -> Fields:
    for text, key in keys.items():
        if _agree(member, key, tuple(key)):
            fields: Fields = owned[text]
            return fields
    return {}


def _same_quantity(one: Any, other: Any) -> bool:
    amounts = (_amount(one), _amount(other))
    return None not in amounts and amounts[0] == amounts[1]


def _amount(value: Any) -> Decimal | None:
    text = str(value)
    suffix = next((suffix for suffix in _SUFFIXES if text.endswith(suffix)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return None
