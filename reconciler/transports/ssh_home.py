"""HOME/known_hosts: the hosts that an operator trusts (`reconciler host trust`). Used by `engine.remotes` and the CLI.

It counts for hosts of which a document itself says nothing; what it revokes is refused whatever a document says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reconciler.transports.ssh_connection import SshPlace
from reconciler.transports.ssh_trust import KnownHost, is_revoking, lines_about, read_known_hosts

KNOWN_HOSTS = "known_hosts"


def home_known_hosts(home: Path) -> tuple[KnownHost, ...]:
    """The lines of the home; none where there is no file. Raises UsageError for one that cannot be read."""
    path = home / KNOWN_HOSTS
    return read_known_hosts(path) if path.exists() else ()


def trusting(place: SshPlace, known: Iterable[KnownHost]) -> SshPlace:
    """The place, and the host that leads to it, with what the home says of them."""
    about = lines_about(known, place.address, place.port)
    added = tuple(line for line in about if not place.known or is_revoking(line))
    jump = trusting(place.jump, known) if place.jump is not None else None
    return replace(place, known=(*place.known, *added), jump=jump)
