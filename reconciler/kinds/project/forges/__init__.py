"""The forges: every module here with a `FORGE`. A forge knows one REST API in which repositories are found and made.

Adding one is adding a module. A provider without one, `generic`, has repositories that are reached by git alone.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.transports.http import Http


@dataclass(frozen=True, slots=True)
class WantedRepository:
    """A repository to be made. full_name: `owner/name`, groups included. visibility: private, internal or public."""

    full_name: str
    visibility: str = "private"
    description: str = ""

    @property
    def owner(self) -> str:
        """The user, the organization, or the group with those above it."""
        return self.full_name.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its last word."""
        return self.full_name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ForgeRepository:
    """A repository as its forge knows it. https_url, ssh_url: to clone from. default_branch: "" while it has none.

    read_only: why nothing can be pushed to it, "" when something can, or when the forge does not say.
    """

    full_name: str
    https_url: str
    ssh_url: str
    default_branch: str
    visibility: str
    read_only: str = ""


class Forge(Protocol):
    """One REST API. Errors of `find` and `create` name what was asked for and what to do about it.

    name: as in `spec.repository.provider`. headers: for every request.
    """

    name: str
    headers: Mapping[str, str]

    def find(self, http: Http, full_name: str) -> ForgeRepository | None:
        """The repository, None when there is none that the token may see. Raises ForgeError, TerminalError."""
        ...

    def create(self, http: Http, wanted: WantedRepository) -> ForgeRepository:
        """Make it, without any commit.

        Raises ForgeError("NameTaken") when it is there (then it may be found now), other ForgeErrors, TerminalError.
        """
        ...


@cache
def forges() -> Mapping[str, Forge]:
    """All forges by name, sorted."""
    found: dict[str, Forge] = {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        forge: Forge | None = getattr(importlib.import_module(f"{__name__}.{entry.name}"), "FORGE", None)
        if forge is not None:
            found[forge.name] = forge
    return found
