"""The commit that desired state was read from. Made by `transports.git`, kept by the store, shown with every run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. id: the whole hash. author: `Name <address>`. at: seconds since the epoch, as the committer says.

    author and subject are somebody else's text: printable, one line, at most 200 characters.
    """

    id: str
    author: str = ""
    subject: str = ""
    at: float = 0.0

    def __str__(self) -> str:
        return f"{self.id[:12]} ({self.author}: {self.subject})" if self.author else self.id[:12]
