"""`/api/v2/projects`: what projects have beside other collections: environments, and the predecessor's shape of a body.

That shape is `name`, `slug`, `description`, `visibility`, `cluster` and `repository` with `provider`, `name`, `url`,
`apiUrl`, `visibility`, `defaultBranch` and `auth`. A project in it is created in the only business cluster unless it
names one, and without `url` its repository is made and filled from the template `web-app`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from reconciler.loading.documents import FindingsError
from reconciler.loading.messages import Finding
from reconciler.model.resource import NAME_PATTERN
from web import clusters
from web.answers import writer
from web.bodies import json_body
from web.collection import FIELDS, Collection, Json
from web.collection_api import blueprint_of
from web.reading import reading
from web.translation import Place, Places, told_back, translated

_REPOSITORY = {
    "provider": ("provider",),
    "name": ("name",),
    "url": ("url",),
    "apiUrl": ("apiUrl",),
    "defaultBranch": ("branch",),
    "auth": ("auth",),
}
_PLACES: Places = {
    ("name",): ("metadata", "name"),
    **{(name,): ("spec", name) for name in ("slug", "description", "visibility", "cluster")},
    **{("repository", name): ("spec", "repository", *place) for name, place in _REPOSITORY.items()},
    ("repository", "visibility"): ("spec", "visibility"),
}
_OLDER = frozenset(field[0] for field in _PLACES)
_FORGES = ("github", "gitlab")
_TEMPLATE = "web-app"


@dataclass(frozen=True, slots=True)
class Projects(Collection):
    """Projects, with what is recorded of their environments and their initialization."""

    def create(self, actor: str) -> Any:
        """See Collection; the predecessor's shape as well."""
        body = json_body(FIELDS | _OLDER)
        if not _OLDER & body.keys() or FIELDS & body.keys():
            if mixed := sorted(_OLDER & body.keys()):
                raise FindingsError([Finding((name,), "does not go with a document") for name in mixed], None)
            return writer().create(self.document(body), actor)
        places = dict(_PLACES)
        document = _older_document(body, places)
        try:
            return writer().create(document, actor)
        except FindingsError as error:
            raise told_back(error, places) from error


PROJECTS = Projects("projects", "Project")
blueprint = blueprint_of(PROJECTS)


@blueprint.get("/<name>/environments")
def environments(name: str) -> Json:
    """`{environments}` in order of promotion, each with its Flux state."""
    with reading() as connection:
        return {"environments": PROJECTS.found(connection, name)["recorded"].get("environments", [])}


def _older_document(body: Mapping[str, Any], places: dict[Place, Place]) -> Json:
    """The document of a body in the predecessor's shape. places: of its fields, changed where the name is no name."""
    _check_repository(body.get("repository"))
    document = translated(body, places, PROJECTS.kind)
    spec, metadata = document["spec"], document["metadata"]
    if spec.get("slug") and not _is_name(metadata.get("name")):  # a name for people: it is called by its slug
        spec.setdefault("description", metadata.get("name", ""))
        metadata["name"] = spec["slug"]
        places[("slug",)] = ("metadata", "name")
        del places[("name",)]
    repository = spec.get("repository", {})
    if repository.get("provider") in _FORGES and "url" not in repository:
        repository["create"] = True
        spec["template"] = {"name": _TEMPLATE}  # a new one is empty, and has no folder of an environment
    if "cluster" not in spec and (only := _only_cluster()):
        spec["cluster"] = only
    return document


def _check_repository(repository: Any) -> None:
    """Raises FindingsError for fields that no repository has."""
    if isinstance(repository, Mapping):
        known = {*_REPOSITORY, "visibility"}
        allowed = ", ".join(sorted(known))
        if unknown := sorted(repository.keys() - known):
            findings = [Finding(("repository", name), f"unknown field: known here are {allowed}") for name in unknown]
            raise FindingsError(findings, None)
    elif repository is not None:
        raise FindingsError([Finding(("repository",), "expected a JSON object")], None)


def _only_cluster() -> str:
    """The business cluster that is wanted, "" when there is none or more than one."""
    with reading() as connection:
        found = [view.name for view in _business(connection)]
    return found[0] if len(found) == 1 else ""


def _business(connection: Connection) -> list[clusters.ClusterView]:
    views = clusters.list_clusters(connection)
    return [view for view in views if view.role != "management" and view.desired_state == "present"]


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) is not None
