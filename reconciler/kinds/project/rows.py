"""The rows of a project: read, made, brought to what its spec says. Called by the steps, by `looking` and by `seeing`.

Every function that writes does so inside one transaction of the caller's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reconciler.errors import TerminalError, TransientError
from reconciler.kind import Records
from reconciler.kinds.project.objects import KUSTOMIZATION, SOURCE, Place
from reconciler.kinds.project.spec import EnvironmentSpec, ProjectSpec, with_id

PROJECTS = "projects"
ENVIRONMENTS = "environments"
REPOSITORIES = "repositories"
RESOURCES = "gitops_resources"
STEPS = "project_initialization_steps"
ROW_TYPES = {SOURCE.kind: "git-repository", KUSTOMIZATION.kind: "kustomization"}

Row = Mapping[str, Any]
Key = tuple[str, str, str, str]
"""What tells a project's gitops resources apart: type, cluster, namespace, name."""


class Made(NamedTuple):
    """An object that we may have made in a cluster."""

    cluster: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Rows:
    """All that is recorded of one project."""

    project: Row
    environments: Sequence[Row] = ()
    repositories: Sequence[Row] = ()
    resources: Sequence[Row] = ()
    inventory: tuple[Made, ...] = field(default=())

    @property
    def id(self) -> str:
        """The project's."""
        return str(self.project["id"])


def load(records: Records, names: Iterable[str]) -> dict[str, Rows]:
    """The rows of projects by the name of their resource; one query a table where there are many."""
    wanted = list(names)
    if len(wanted) <= 2:
        found = {name: row for name in wanted if (row := records.get(PROJECTS, resource=name)) is not None}
        return {name: _with_parts(row, *_parts(records, project_id=row["id"])) for name, row in found.items()}
    chosen = frozenset(wanted)
    projects = [row for row in records.list(PROJECTS) if row["resource"] in chosen]
    groups = [_by_project(rows) for rows in _parts(records)]
    return {row["resource"]: _with_parts(row, *(group.get(row["id"], ()) for group in groups)) for row in projects}


def read(records: Records, name: str) -> Rows:
    """The rows of one project. Raises TransientError when its record is gone."""
    found = load(records, [name]).get(name)
    if found is None:
        raise TransientError("NoRecord", f"the record of Project/{name} is gone")
    return found


def ensure(records: Records, spec: ProjectSpec, now: float) -> str:
    """The id of the project: recorded before, of a row that its slug claims, or new. Its record names its place.

    Raises TerminalError for a slug that another project has.
    """
    _check_slug(records, spec)
    row = records.get(PROJECTS, resource=spec.name) or _unclaimed(records, spec)
    project_id = str(row["id"]) if row is not None else str(uuid.uuid4())
    values = {
        "name": spec.name,
        "resource": spec.name,
        "slug": spec.slug,
        "cluster": spec.cluster,
        "namespace": with_id(spec.namespace, project_id),
        "status": "initializing",
        "initialization_error": None,
        "updated_at": now,
    }
    if row is None:
        values |= {"initialization_started_at": now, "created_at": now}
    records.put(PROJECTS, {"id": project_id}, values)
    return project_id


def describe(records: Records, spec: ProjectSpec, project_id: str, now: float) -> None:
    """What the document says of the project itself and of its repository. Raises TerminalError as `ensure` does."""
    _check_slug(records, spec)
    facts = {"slug": spec.slug, "description": spec.description, "visibility": spec.visibility, "updated_at": now}
    records.put(PROJECTS, {"id": project_id}, facts)
    wanted = spec.repository
    values = {
        "provider": wanted.provider,
        "full_name": wanted.name,
        "clone_url": wanted.url,
        "default_branch": wanted.branch,
        "status": "success",
        "last_sync_at": now,
        "updated_at": now,
    }
    there = records.list(REPOSITORIES, project_id=project_id)
    kept = next((row for row in there if row["full_name"] == wanted.name), there[0] if there else None)
    key = {"id": kept["id"] if kept is not None else _child(project_id, "repository")}
    fresh = {} if kept is not None else {"project_id": project_id, "created_at": now}
    records.put(REPOSITORIES, key, {**fresh, **values})


def settle_environments(records: Records, spec: ProjectSpec, project_id: str, now: float) -> None:
    """A row for each wanted environment, none for another. One that was only renamed keeps its row, and so its id."""
    there = records.list(ENVIRONMENTS, project_id=project_id)
    by_slug = {row["slug"] or row["type"]: row for row in there}
    kept = {by_slug[one.slug]["id"] for one in spec.environments if one.slug in by_slug}
    names = {one.slug: one.name for one in spec.environments}
    for row in there:
        if row["id"] not in kept:
            records.delete(ENVIRONMENTS, id=row["id"])
        elif row["name"] != names[row["slug"] or row["type"]]:  # two may have changed their names with each other
            records.put(ENVIRONMENTS, {"id": row["id"]}, {"name": row["id"]})
    for sequence, one in enumerate(spec.environments, 1):
        before = by_slug.get(one.slug)
        columns = _environment_columns(one, before)
        values = {**columns, "namespace": with_id(one.namespace, project_id), "sequence": sequence}
        if before is None:
            row_id = _child(project_id, "environment", one.slug)
            fresh = {"project_id": project_id, "created_at": now, "updated_at": now}
            records.put(ENVIRONMENTS, {"id": row_id}, {**fresh, **values})
        elif any(before[name] != value for name, value in values.items()):
            records.put(ENVIRONMENTS, {"id": before["id"]}, {**values, "updated_at": now})


def settle_resources(records: Records, project_id: str, made: Sequence[tuple[Place, Row]], now: float) -> list[str]:
    """A row for each Flux object with its manifest, none for another. The ids, in the order of `made`.

    The repository's are of no environment, those of environments of no repository.
    """
    rows = {key_of(row): row for row in records.list(RESOURCES, project_id=project_id)}
    slugs = {row["slug"]: row["id"] for row in records.list(ENVIRONMENTS, project_id=project_id)}
    repository = records.get(REPOSITORIES, project_id=project_id)
    ids: list[str] = []
    for place, manifest in made:
        key = (ROW_TYPES[place.kind], place.cluster, place.namespace, place.name)
        row = rows.pop(key, None) or rows.pop((key[0], "", *key[2:]), None)  # taken over, where there was one cluster
        row_id = str(row["id"]) if row is not None else _child(project_id, *key)
        values = {
            "environment_id": slugs.get(place.part[-1]) if place.kind == KUSTOMIZATION.kind else None,
            "repository_id": repository["id"] if repository is not None and place.kind == SOURCE.kind else None,
            "config": json.dumps(_config(manifest), sort_keys=True),
            "cluster": place.cluster,
        }
        ids.append(row_id)
        if row is None:
            fresh = {"project_id": project_id, "type": key[0], "namespace": key[2], "name": key[3], "created_at": now}
            records.put(RESOURCES, {"id": row_id}, {**fresh, **values, "status": "pending", "updated_at": now})
        elif any(row[name] != value for name, value in values.items()):
            records.put(RESOURCES, {"id": row_id}, {**values, "updated_at": now})
    for row in rows.values():
        if row["type"] in ROW_TYPES.values():
            records.delete(RESOURCES, id=row["id"])
    return ids


def note_inventory(records: Records, project_id: str, inventory: Iterable[Made]) -> None:
    """What we may have made; an object stands there before it is applied and until it is seen to be gone."""
    listed = [made._asdict() for made in dict.fromkeys(inventory)]
    records.put(PROJECTS, {"id": project_id}, {"inventory": json.dumps(listed)})


def key_of(row: Row) -> Key:
    """Of a gitops resource."""
    return (row["type"], row["cluster"], row["namespace"], row["name"])


def approvals_of(row: Row) -> tuple[bool, int]:
    """Whether a deployment to an environment needs approval, and of how many."""
    config = json.loads(row["config"] or "{}")
    return bool(config.get("approvalRequired", False)), int(config.get("minApprovals", 1))


class Pushed(NamedTuple):
    """What was last pushed of a template. made_of: what decided what it gave; None where nothing was pushed.

    files: the ids of their contents by path. folder: the digest of a folder of one's own; None where none is recorded.
    """

    made_of: Any
    files: dict[str, str]
    folder: str | None


def pushed_of(project: Row) -> Pushed:
    """What is recorded of a project's template."""
    config = json.loads(project["template_config"] or "{}")
    return Pushed(config.get("template"), dict(config.get("pushed", {})), config.get("folder") or None)


def _check_slug(records: Records, spec: ProjectSpec) -> None:
    same = records.list(PROJECTS, slug=spec.slug)
    taken = [row["resource"] for row in same if row["resource"] not in (None, spec.name)]
    if taken:
        raise TerminalError("SlugTaken", f"slug {spec.slug} is that of Project/{taken[0]}: choose another")


def _unclaimed(records: Records, spec: ProjectSpec) -> Row | None:
    """A row that was taken over and is of this slug. Raises TerminalError where there are several."""
    free = [row for row in records.list(PROJECTS, slug=spec.slug) if row["deleted_at"] is None]
    if len(free) > 1:
        ids = ", ".join(row["id"] for row in free[:5])
        raise TerminalError("SlugTaken", f"several recorded projects have slug {spec.slug}: {ids}; delete all but one")
    return free[0] if free else None


def _child(project_id: str, *names: str) -> str:
    """The id of a row below a project: the same whenever it is made."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join((project_id, *names))))


def _environment_columns(spec: EnvironmentSpec, row: Row | None) -> dict[str, Any]:
    config = json.loads(row["config"] or "{}") if row is not None else {}
    config |= {"approvalRequired": spec.approval_required, "minApprovals": spec.min_approvals}
    return {
        "name": spec.name,
        "type": spec.type,
        "description": spec.description,
        "config": json.dumps(config, sort_keys=True),
        "slug": spec.slug,
        "cluster": spec.cluster,
        "path": spec.path,
    }


def _config(manifest: Row) -> dict[str, Any]:
    """What of a manifest the predecessor kept in the row."""
    spec = manifest["spec"]
    return {name: spec[name] for name in ("interval", "path", "prune", "url", "ref") if name in spec}


def _parts(records: Records, **where: Any) -> tuple[list[dict[str, Any]], ...]:
    return tuple(records.list(table, **where) for table in (ENVIRONMENTS, REPOSITORIES, RESOURCES))


def _by_project(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["project_id"], []).append(row)
    return groups


def _with_parts(
    project: Row, environments: Sequence[Row], repositories: Sequence[Row], resources: Sequence[Row]
) -> Rows:
    inventory = tuple(Made(**one) for one in json.loads(project["inventory"] or "[]"))
    return Rows(project, environments, repositories, resources, inventory)
