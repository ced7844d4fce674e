"""What a forge's no means, and what to do about it. Called by the modules of forges. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import ReconcilerError, TerminalError, TransientError
from reconciler.kinds.project.forges import ForgeRepository
from reconciler.transports.git_command import clean
from reconciler.transports.http_access import HttpError


class ForgeError(TransientError):
    """The forge said no, and may say yes once somebody has changed something there, or the token."""


@dataclass(frozen=True, slots=True)
class Remedies:
    """What a forge calls things. scope: that its tokens need. owner: what repositories belong to, in words."""

    forge: str
    scope: str
    owner: str


def text_of(found: Any, name: str, *, needed: bool = True) -> str:
    """A text that a forge answers, printable. Raises KeyError or TypeError where it is needed and there is none."""
    value = found[name] if needed else found.get(name)
    if needed and not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return clean(value) if isinstance(value, str) else ""


def still_named(found: ForgeRepository, full_name: str, forge: str) -> ForgeRepository:
    """A repository that was looked for by this name. Raises TerminalError("Moved") where the forge led to another."""
    if found.full_name.lower() != full_name.lower():
        message = f"{full_name} has become {found.full_name} at {forge}: write that as repository.name"
        raise TerminalError("Moved", message)
    return found


def explained(error: HttpError, what: str, remedies: Remedies) -> ReconcilerError:
    """The error to raise instead of one of HTTP. what: was tried, as the beginning of a sentence."""
    reason, remedy = _MEANINGS.get(error.status, ("", ""))
    if not reason:
        return TerminalError("RefusedByForge", f"{what}: {remedies.forge} does not accept that: {error.message}")
    told = remedy.format(forge=remedies.forge, scope=remedies.scope, owner=remedies.owner)
    return ForgeError(reason, f"{what}: {told} ({error.message})")


_MEANINGS: Mapping[int, tuple[str, str]] = {
    301: ("Moved", "it was renamed or moved: write the name that it has now"),
    302: ("Moved", "it was renamed or moved: write the name that it has now"),
    401: (
        "AuthenticationFailed",
        "{forge} does not accept the token: it is wrong, expired or revoked; give another one as repository.auth.token",
    ),
    403: (
        "AccessDenied",
        "the token lacks the right to do that: it needs {scope}, and its user a role in the {owner} that allows it",
    ),
    404: (
        "NoSuchOwner",
        "there is no such {owner}, or the token may not see it: check repository.name, repository.apiUrl and the token",
    ),
    409: ("Conflict", "{forge} is doing something else with it at the moment"),
}
