"""Canonical JSON and digests: how two states are recognised as the same. Used wherever something is stored."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.model.secret import SECRET_MARK, Secret, SpecFile

_SCALARS = frozenset({str, int, float, bool, type(None)})


def to_plain(
    value: Any,
    secret: Callable[[Secret], Any] = lambda _: SECRET_MARK,
    file: Callable[[SpecFile], Any] = lambda file: {"file": file.path},
) -> Any:
    """Plain JSON data for a spec value; a Secret becomes what `secret` returns, a SpecFile what `file` returns."""
    if value.__class__ in _SCALARS:  # most values by far
        return value
    if value.__class__ is dict:  # most of the others
        return {
            key: member if member.__class__ in _SCALARS else to_plain(member, secret, file)
            for key, member in value.items()
        }
    if isinstance(value, Secret):
        return secret(value)
    if isinstance(value, SpecFile):
        return file(value)
    if isinstance(value, Mapping):
        return {key: to_plain(member, secret, file) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(member, secret, file) for member in value]
    return value


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces. Raises TypeError for what is not plain JSON data."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of plain data."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def stored_form(value: Any, key: bytes) -> Any:
    """What may be stored or digested: secrets as `{"secret": keyed digest}`, files as path and keyed digest.

    A file may hold secrets too, and who can guess the rest of it could try values against a digest without a key.
    """

    def file(named: SpecFile) -> Any:
        return {"file": named.path, "digest": hmac.digest(key, named.sha256.encode(), "sha256").hex()}

    return to_plain(value, lambda secret: {"secret": secret.keyed_digest(key)}, file)
