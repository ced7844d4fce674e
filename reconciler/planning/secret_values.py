"""Values of Kubernetes Secrets in manifests: known by digest wherever anything is stored or shown. Pure.

In the normal form a Secret has `data` alone (`stringData` is merged into it, as the API server does it), each value a
`Secret` holding base64 text; the planner turns it into `{"secret": keyed digest}`. `observe` reports the same of the
live object, and only the step that applies a manifest gets the values back. For kinds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.errors import SpecError
from reconciler.model.secret import Secret

_FIELDS = ("data", "stringData")

Hide = Callable[[Secret], str]
"""The keyed digest of a value: `Context.digest_of`."""


def holds_secrets(manifest: Mapping[str, Any]) -> bool:
    """True for a Secret of the core API."""
    return manifest.get("kind") == "Secret" and manifest.get("apiVersion") == "v1"


def wrapped(manifest: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A Secret's manifest with its values wrapped. Raises SpecError naming the key, never the value."""
    plain = _members(manifest, "stringData", where)
    encoded = _members(manifest, "data", where)
    values = {name: _wrapped(value, f"{where}: data.{name}", encode=False) for name, value in encoded.items()}
    values |= {name: _wrapped(value, f"{where}: stringData.{name}", encode=True) for name, value in plain.items()}
    rest = {name: member for name, member in manifest.items() if name not in _FIELDS}
    return {**rest, "data": values} if values or "data" in manifest else rest


def hidden(live: Mapping[str, Any], digest_of: Hide) -> dict[str, Any]:
    """What is seen of a live Secret, its values as digests."""
    values = live.get("data")
    if not isinstance(values, Mapping):
        return {name: member for name, member in live.items() if name not in _FIELDS}
    digests = {name: {"secret": digest_of(Secret(_canonical(str(text)), "live"))} for name, text in values.items()}
    return {**{name: member for name, member in live.items() if name not in _FIELDS}, "data": digests}


def revealed(
    planned: Mapping[str, Any], wanted: Mapping[str, Any], digest_of: Hide, live: Callable[[], Mapping[str, Any] | None]
) -> dict[str, Any]:
    """The object to send for a planned one. wanted: the same manifest with its values wrapped.

    live: gives the object as it is now; asked only for values that `lifecycle.ignore` leaves to others.
    """
    if not holds_secrets(planned) or "data" not in planned:
        return dict(planned)
    own = wanted.get("data") or {}
    values: dict[str, str] = {}
    theirs: list[str] = []
    for name, shown in planned["data"].items():
        value = own.get(name)
        if isinstance(value, Secret) and shown == {"secret": digest_of(value)}:
            values[name] = value.reveal()
        else:
            theirs.append(name)
    there = ((live() or {}).get("data") or {}) if theirs else {}
    values |= {name: there[name] for name in theirs if name in there}
    return {**planned, "data": values}


def _members(manifest: Mapping[str, Any], field: str, where: str) -> Mapping[str, Any]:
    members = manifest.get(field, {})
    if not isinstance(members, Mapping):
        raise SpecError("InvalidManifest", f"{where}: {field} is not a mapping of names to values")
    return members


def _wrapped(value: Any, where: str, *, encode: bool) -> Any:
    if _is_stored(value):  # the spec in its stored form, of a document that is gone
        return value
    if not isinstance(value, str | Secret):
        raise SpecError("InvalidManifest", f"{where} is not text")
    text, origin = (value.reveal(), value.origin) if isinstance(value, Secret) else (value, where)
    if encode:
        return Secret(base64.b64encode(text.encode()).decode(), origin)
    try:
        return Secret(base64.b64encode(_decoded(text)).decode(), origin)
    except (binascii.Error, ValueError):
        # without its cause, which may hold the value
        raise SpecError("InvalidManifest", f"{where} is not base64; plain text belongs into stringData") from None


def _decoded(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


def _canonical(text: str) -> str:
    try:
        return base64.b64encode(_decoded(text)).decode()
    except (binascii.Error, ValueError):
        return text


def _is_stored(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"secret"} and isinstance(value["secret"], str)
