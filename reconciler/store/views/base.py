"""What every view shares: its JSON form, and the masking of what must not be shown. Used by the modules beside it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from reconciler.model.resource import ResourceRef
from reconciler.model.secret import SECRET_MARK

_SECRET_NAME = re.compile(
    r"pass(word|phrase|wd)|secret|token|credential|private_?key|api_?key|client_?key|authorization|cookie|kube_?config",
    re.I,
)


class View:
    """Base of the views: frozen dataclasses that can say themselves in JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """The fields in camelCase; references as `Kind/name`, nested views likewise."""
        view: Any = type(self)
        return {key: to_plain(getattr(self, name)) for name, key in _json_names(view)}


def to_plain(value: Any) -> Any:
    """Plain JSON data of a field's value."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, ResourceRef):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(member) for key, member in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(member) for member in value]
    return value.to_json()


def mask(value: Any) -> Any:
    """A stored state or spec with `***` where a secret's keyed digest stands."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("secret"), str):
            return SECRET_MARK
        return {key: mask(member) for key, member in value.items()}
    if isinstance(value, list):
        return [mask(member) for member in value]
    return value


def mask_outputs(value: Any) -> Any:
    """A step's outputs, which are free in form: `***` also for whatever is named like a secret."""
    if isinstance(value, dict):
        return {
            key: SECRET_MARK if _SECRET_NAME.search(key) else mask_outputs(member)
            for key, member in mask_top(value).items()
        }
    if isinstance(value, list):
        return [mask_outputs(member) for member in value]
    return value


def mask_top(value: dict[str, Any]) -> dict[str, Any]:
    """The members with keyed digests masked; outputs are a mapping, so the mapping itself stays one."""
    return {key: mask(member) for key, member in value.items()}


@cache
def _json_names(view: type[Any]) -> tuple[tuple[str, str], ...]:
    names = (field.name for field in dataclasses.fields(view))
    return tuple((name, _camel(name)) for name in names)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
