"""Projects at GitLab, gitlab.com or one's own, by its REST API. Found by `forges`, called by `repositories`.

Source: GitLab's documentation, "Projects API" and "Namespaces API", version 4. A project is made without any commit:
the branch that is pushed first becomes its default one. What the token may not see is answered as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.errors import ReconcilerError, WaitingError
from reconciler.kinds.project.forges import ForgeRepository, WantedRepository
from reconciler.kinds.project.forges.refusals import ForgeError, Remedies, explained, still_named, text_of
from reconciler.transports.http_access import HttpError

if TYPE_CHECKING:
    from reconciler.transports.http import Http

_REMEDIES = Remedies("GitLab", "the scope `api`", "user or group")
_DEVELOPER = 30
_DELETION_PAUSE = 30.0


class GitLab:
    """See `Forge`."""

    name = "gitlab"
    headers: Mapping[str, str] = {}

    def find(self, http: Http, full_name: str) -> ForgeRepository | None:
        """See `Forge.find`."""
        try:
            found = http.find(f"/projects/{quote(full_name, safe='')}")
        except HttpError as error:
            raise explained(error, f"looking for {full_name}", _REMEDIES) from error
        return None if found is None else still_named(_repository(found), full_name, "GitLab")

    def create(self, http: Http, wanted: WantedRepository) -> ForgeRepository:
        """See `Forge.create`."""
        what = f"making {wanted.full_name}"
        try:
            namespace = http.request("GET", f"/namespaces/{quote(wanted.owner, safe='')}").value
            body = {
                "name": wanted.name,
                "path": wanted.name,
                "namespace_id": namespace["id"],
                "visibility": wanted.visibility,
                "description": wanted.description,
                "initialize_with_readme": False,
            }
            return _repository(http.request("POST", "/projects", body).value)
        except HttpError as error:
            raise _refusal(error, what) from error
        except (KeyError, TypeError) as error:
            raise _no_answer() from error


def _refusal(error: HttpError, what: str) -> ReconcilerError:
    if error.status == 400 and "already been taken" in error.said:
        return ForgeError("NameTaken", f"{what}: GitLab has a project of that name already")
    if error.status == 400 and "still being deleted" in error.said:
        return WaitingError("StillBeingDeleted", f"{what}: GitLab still deletes the one before", _DELETION_PAUSE)
    return explained(error, what, _REMEDIES)


def _repository(found: Any) -> ForgeRepository:
    try:
        return ForgeRepository(
            full_name=text_of(found, "path_with_namespace"),
            https_url=text_of(found, "http_url_to_repo"),
            ssh_url=text_of(found, "ssh_url_to_repo"),
            default_branch=text_of(found, "default_branch", needed=False),
            visibility=text_of(found, "visibility", needed=False) or "private",
            read_only=_read_only(found),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_answer() from error


def _read_only(found: Mapping[str, Any]) -> str:
    if found.get("archived"):
        return "is archived"
    if found.get("marked_for_deletion_on") or found.get("marked_for_deletion_at"):
        return "is marked for deletion"
    levels = [access["access_level"] for access in (found.get("permissions") or {}).values() if access]
    return "may not be written with this token" if levels and max(levels) < _DEVELOPER else ""


def _no_answer() -> ForgeError:
    return ForgeError("BadAnswer", "GitLab's answer is no project: check repository.apiUrl")


FORGE = GitLab()
