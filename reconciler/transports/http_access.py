"""How a REST API is reached and how it says no: all that who uses `http` needs before a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.errors import TransientError
from reconciler.model.secret import Secret


class HttpError(TransientError):
    """The server said no. status: its code. said: its own words, printable."""

    def __init__(self, reason: str, message: str, status: int, said: str) -> None:
        super().__init__(reason, message)
        self.status = status
        self.said = said


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """How a server is reached. token: sent as `Authorization: Bearer …`. headers: sent with every request.

    timeout: seconds for all of a request. longest: bytes of an answer. ca_file: trusted instead of the system's.
    use_proxy: whether the environment's proxy counts.
    """

    token: Secret | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    longest: int = 8_000_000
    ca_file: Path | None = None
    use_proxy: bool = False


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What was answered. value: the JSON, None for an empty body."""

    status: int
    value: Any
