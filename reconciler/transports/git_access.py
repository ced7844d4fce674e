"""What a document gives to reach its repository, handed to git so that nothing of it lies anywhere. Used by `git_talk`.

Token, key and known hosts come as values. For the time of one conversation each stands in a file that exists in memory
alone, which git's and ssh's own processes read through `/proc`: no argument, environment, address or disk ever holds
it, and whoever is killed leaves nothing behind.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import SpecError, UsageError
from reconciler.model.secret import Secret
from reconciler.transports.git_command import GitAccess
from reconciler.transports.git_place import GitPlace

AUTHOR = "reconciler <reconciler@localhost>"
_LONGEST_SECRET = 32_000
_NO_KEY = Path("none")
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """How one remote is reached. Nothing of the machine's own is offered where a credential is missing.

    token: for http(s); username goes with it. ssh_key: the private key itself, in PEM. known_hosts: lines as ssh has
    them; where there are none, known_hosts_file counts, and where that is None, what ssh knows by default: an unknown
    host is never accepted. ca_file: what https trusts. timeout: seconds that one call of git may take. author: of the
    commits that are made, as `NAME <ADDRESS>`.
    """

    username: str = "git"
    token: Secret | None = None
    ssh_key: Secret | None = None
    known_hosts: str = ""
    ca_file: Path | None = None
    timeout: float = 60.0
    known_hosts_file: Path | None = None
    author: str = AUTHOR

    def check(self, place: GitPlace) -> None:
        """Raise SpecError for credentials that must not, or cannot, be used for this place."""
        if self.token is not None and place.scheme == "http" and not place.is_loopback:
            raise SpecError("TokenOverHttp", f"{place.url}: a token is never sent without TLS: write https://")
        if place.scheme.startswith("http") and self.token is not None:
            token = self.token.reveal()
            if not token.strip() or not token.strip().isprintable() or len(token) > _LONGEST_SECRET:
                raise SpecError("BadToken", f"the token from {self.token.origin} is not one line of text")
            if not self.username.isprintable() or not self.username:
                raise SpecError("BadUsername", "auth.username is not one line of text")
        if place.scheme == "ssh" and self.ssh_key is not None:
            key = self.ssh_key.reveal()
            if "PRIVATE KEY-----" not in key or len(key) > _LONGEST_SECRET:
                raise SpecError("BadSshKey", f"what {self.ssh_key.origin} holds is not a private key in PEM")
            if _is_locked(key):
                raise SpecError(
                    "BadSshKey", f"the key from {self.ssh_key.origin} has a passphrase, which nobody can enter"
                )


@contextmanager
def handed_over(access: RemoteAccess, place: GitPlace) -> Iterator[GitAccess]:
    """The access as git takes it, while it is needed. Raises SpecError for what must not be used."""
    access.check(place)
    with ExitStack() as stack:

        def in_memory(text: str) -> Path:
            return stack.enter_context(_in_memory(text))

        token = key = hosts = None
        if place.scheme.startswith("http") and access.token is not None:
            token = in_memory(access.token.reveal().strip())
        if place.scheme == "ssh":
            key = in_memory(access.ssh_key.reveal().strip() + "\n") if access.ssh_key is not None else _NO_KEY
            hosts = in_memory(access.known_hosts + "\n") if access.known_hosts.strip() else access.known_hosts_file
        yield GitAccess(access.timeout, key, hosts, token, access.username, access.ca_file)


def checked_place(url: str, branch: str = "main") -> GitPlace:
    """A place out of a document. Raises SpecError for what `GitPlace.checked` refuses."""
    try:
        return GitPlace.checked(url, branch)
    except UsageError as error:
        message = error.message
        if error.reason == "PasswordInUrl":
            message = "the git URL holds a password: leave it out, and give auth.token by reference"
        raise SpecError(error.reason, message) from error


def _is_locked(key: str) -> bool:
    """Whether a private key is encrypted: ssh would only say that it was not let in."""
    if "OPENSSH" not in key:
        return "ENCRYPTED" in key
    try:
        body = base64.b64decode("".join(line for line in key.splitlines() if "-----" not in line))
    except ValueError:
        return False
    name = body[len(_MAGIC) :]
    length = int.from_bytes(name[:4], "big")
    return body.startswith(_MAGIC) and name[4 : 4 + length] != b"none"


@contextmanager
def _in_memory(text: str) -> Iterator[Path]:
    """A file with this text that has no name on any disk, for our own user alone."""
    descriptor = os.memfd_create("handed-over")
    try:
        os.fchmod(descriptor, 0o600)  # ssh takes no key that others could read
        with os.fdopen(os.dup(descriptor), "w") as stream:
            stream.write(text)
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)
