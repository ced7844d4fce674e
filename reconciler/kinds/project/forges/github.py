"""Repositories at GitHub and GitHub Enterprise, by its REST API. Found by `forges`, called by `repositories`.

Source: GitHub's documentation, "REST API endpoints for repositories", version 2022-11-28. A repository is made without
any commit: the branch that is pushed first becomes its default one. What the token may not see is answered as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.kinds.project.forges import ForgeRepository, WantedRepository
from reconciler.kinds.project.forges.refusals import ForgeError, Remedies, explained, still_named, text_of
from reconciler.transports.http_access import HttpError

if TYPE_CHECKING:
    from reconciler.transports.http import Http

_REMEDIES = Remedies(
    "GitHub",
    "the scope `repo` (a fine-grained token: the permission Administration, read and write, for this owner)",
    "user or organization",
)


class GitHub:
    """See `Forge`."""

    name = "github"
    headers: Mapping[str, str] = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

    def find(self, http: Http, full_name: str) -> ForgeRepository | None:
        """See `Forge.find`."""
        try:
            found = http.find(f"/repos/{quote(full_name)}")
        except HttpError as error:
            raise explained(error, f"looking for {full_name}", _REMEDIES) from error
        return None if found is None else still_named(_repository(found), full_name, "GitHub")

    def create(self, http: Http, wanted: WantedRepository) -> ForgeRepository:
        """See `Forge.create`."""
        what = f"making {wanted.full_name}"
        try:
            place = "/user/repos" if _is_own(http, wanted.owner) else f"/orgs/{quote(wanted.owner)}/repos"
            if place == "/user/repos" and wanted.visibility == "internal":
                raise TerminalError("NoInternal", f"{what}: only an organization's repository can be internal")
            return _repository(http.request("POST", place, _body(wanted, place)).value)
        except HttpError as error:
            raise _refusal(error, what) from error


def _is_own(http: Http, owner: str) -> bool:
    """Whether the owner is the token's user. The token of an app has none, and works for organizations."""
    try:
        user = http.find("/user")
    except HttpError as error:
        if error.status == 403:
            return False
        raise
    return isinstance(user, dict) and str(user.get("login")).lower() == owner.lower()


def _body(wanted: WantedRepository, place: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": wanted.name,
        "description": wanted.description,
        "private": wanted.visibility != "public",
        "auto_init": False,
    }
    if place != "/user/repos":
        body["visibility"] = wanted.visibility
    return body


def _refusal(error: HttpError, what: str) -> ReconcilerError:
    if error.status == 422 and "already exists" in error.said:
        return ForgeError("NameTaken", f"{what}: GitHub has a repository of that name already")
    return explained(error, what, _REMEDIES)


def _repository(found: Any) -> ForgeRepository:
    try:
        may_push = (found.get("permissions") or {}).get("push", True)
        read_only = "is archived" if found.get("archived") else "" if may_push else "may not be written with this token"
        return ForgeRepository(
            full_name=text_of(found, "full_name"),
            https_url=text_of(found, "clone_url"),
            ssh_url=text_of(found, "ssh_url"),
            default_branch=text_of(found, "default_branch", needed=False),
            visibility=text_of(found, "visibility", needed=False) or ("private" if found.get("private") else "public"),
            read_only=read_only,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ForgeError("BadAnswer", "GitHub's answer is no repository: check repository.apiUrl") from error


FORGE = GitHub()
