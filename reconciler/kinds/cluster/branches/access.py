"""How a repository is reached: credentials as a document has them, and as a record remembers where they came from.

A branch may have to be archived and deleted when its document is gone. The records then say from which variable or file
each credential was read; it is read again there, as far as the settings still allow it. No value is ever recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.kind import Context
from reconciler.model.secret import Secret
from reconciler.transports.git_access import RemoteAccess

_SECRETS = ("token", "sshKey")


@dataclass(frozen=True, slots=True)
class Access:
    """Credentials. token, ssh_key: None for none. is_whole: False when there are some that are not at hand."""

    username: str = "git"
    token: Secret | None = None
    ssh_key: Secret | None = None
    known_hosts: str = ""
    is_whole: bool = True

    @classmethod
    def of(cls, auth: Mapping[str, Any] | None) -> Access:
        """From `auth` of a spec. Not whole when the spec is in its stored form, which has no secrets."""
        given = auth or {}
        token, ssh_key = (given.get(name) for name in _SECRETS)
        return cls(
            username=given.get("username", "git"),
            token=token if isinstance(token, Secret) else None,
            ssh_key=ssh_key if isinstance(ssh_key, Secret) else None,
            known_hosts=given.get("knownHosts", ""),
            is_whole=all(one is None or isinstance(one, Secret) for one in (token, ssh_key)),
        )

    @classmethod
    def remembered(cls, words: Mapping[str, Any], context: Context) -> Access:
        """From what `words` gave once. Raises SpecError for a credential that cannot be read any more."""
        token, ssh_key = (context.secret(words[name]) if name in words else None for name in _SECRETS)
        return cls(words.get("username", "git"), token, ssh_key, words.get("knownHosts", ""))

    def words(self) -> dict[str, str]:
        """What may be stored: where the secrets come from, never what they are."""
        found = {"token": self.token, "sshKey": self.ssh_key}
        origins = {name: secret.origin for name, secret in found.items() if secret is not None}
        hosts = {"knownHosts": self.known_hosts} if self.known_hosts else {}
        return {**({"username": self.username} if "token" in origins else {}), **origins, **hosts}

    def for_git(self) -> RemoteAccess:
        """As `Context.git` takes it."""
        return RemoteAccess(self.username, self.token, self.ssh_key, self.known_hosts)
