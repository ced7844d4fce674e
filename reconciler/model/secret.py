"""Secrets and named files: spec values whose content must not travel with the spec.

The loader makes them from fields that a kind's schema marks `x-secret` or `x-file`; transports and steps read them.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import NoReturn

SECRET_MARK = "***"  # noqa: S105 - what is shown instead of a secret


class Secret:
    """A value that cannot be printed, serialised or compared by content; `reveal()` is the only way to it.

    origin: where it came from, e.g. `env:TOKEN` or `file:/run/token`; safe to print.
    """

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: str) -> None:
        self._value = value
        self.origin = origin

    def reveal(self) -> str:
        """The value itself: for the one call that needs it, never for a variable that lives on."""
        return self._value

    def keyed_digest(self, key: bytes) -> str:
        """HMAC-SHA256 in hex: equal values are recognised by whoever has the home's digest key, and by nobody else."""
        return hmac.new(key, self._value.encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return SECRET_MARK

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return format(SECRET_MARK, format_spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.origin))


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A file that a spec names, as it was read when the spec was loaded.

    path: as written in the document. sha256: of its bytes, part of the spec's digest, so that an edited file is a
    change. text: its content, kept out of repr and out of every serialised form.
    """

    path: str
    sha256: str
    text: str = field(repr=False, compare=False, default="")
