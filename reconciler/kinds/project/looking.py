"""What is there of projects, in normal form. Called by `ProjectKind.observe` for all of one cluster; reads only.

The records say which projects there are and under which id; the APIs show their objects (`seeing`). Where an object is
as wanted it is reported in the words of the plan, with `${project_id}` in its names. A cluster that does not answer
makes the projects in it unknown, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reconciler.errors import ReconcilerError, SpecError, UnreachableError
from reconciler.kind import Context, KnownCluster
from reconciler.kinds.project import rows
from reconciler.kinds.project.flux_install import seen_installs
from reconciler.kinds.project.objects import (
    BY_KIND,
    NAMESPACE,
    PRESENT,
    REQUESTED_AT,
    Place,
    filled,
    objects_of,
    places,
)
from reconciler.kinds.project.seeing import Live, Seen, fetch, is_leaving
from reconciler.kinds.project.spec import EnvironmentSpec, ProjectSpec, TemplateSpec, with_id
from reconciler.kinds.project.templating import AS_PUSHED, EDITED, OwnFolders, foreseen
from reconciler.model.digest import to_plain
from reconciler.model.kstatus import health_of
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource, ResourceRef, State
from reconciler.planning.live import comparable
from reconciler.planning.secret_values import hidden, holds_secrets

_STATUS = {"current": "ready", "progressing": "reconciling", "failed": "failed", "terminating": "reconciling"}
ENVIRONMENT_LEFT = "environment "
"""How a leftover begins that is the row of an environment."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One project that is looked at. recorded: None as long as there is no record."""

    resource: Resource
    spec: ProjectSpec
    recorded: rows.Rows | None

    @property
    def clusters(self) -> tuple[str, ...]:
        """Every cluster that it is, or may still be, in."""
        made = self.recorded.inventory if self.recorded is not None else ()
        return tuple(dict.fromkeys((*self.spec.clusters, *(one.cluster for one in made))))

    def namespaces(self, cluster: str) -> tuple[str, ...]:
        """Those in a cluster that may hold objects of ours."""
        assert self.recorded is not None
        names = [one.namespace for one in self.recorded.inventory if one.cluster == cluster and one.namespace]
        wanted = [with_id(self.spec.namespace, self.recorded.id)] if cluster in self.spec.clusters else []
        return tuple(dict.fromkeys((*wanted, *names)))

    def targets(self, cluster: str) -> tuple[str, ...]:
        """Those that its environments in a cluster are, or were, put into."""
        assert self.recorded is not None
        made = (one.name for one in self.recorded.inventory if one.cluster == cluster and not one.namespace)
        wanted = (one.namespace for one in self.spec.in_cluster(cluster) if one.namespace)
        return (*made, *(with_id(name, self.recorded.id) for name in wanted))


def look_at(resources: Sequence[Resource], context: Context) -> dict[ResourceRef, Observation]:
    """Projects whose cluster is the same. Every one gets an answer."""
    recorded = rows.load(context.records, [one.ref.name for one in resources])
    subjects = [Subject(one, ProjectSpec.of(one), recorded.get(one.ref.name)) for one in resources]
    clusters = context.clusters()
    asked = [one for one in subjects if _pending(one, clusters) is None and one.recorded is not None]
    names = dict.fromkeys(name for one in asked for name in one.clusters if name in clusters)
    found = {name: _fetch(name, [one for one in asked if name in one.clusters], context) for name in names}
    folders = OwnFolders(context)
    return {one.resource.ref: _observation(one, clusters, found, folders) for one in subjects}


def _pending(subject: Subject, clusters: Mapping[str, KnownCluster]) -> ResourceRef | None:
    """The first of its clusters that is not made yet."""
    missing = (name for name in subject.spec.clusters if name not in clusters or not clusters[name].was_verified)
    name = next(missing, None)
    return None if name is None else ResourceRef("Cluster", name)


def _fetch(cluster: str, subjects: Sequence[Subject], context: Context) -> Seen | ReconcilerError:
    own = [name for one in subjects for name in one.namespaces(cluster)]
    shared = [name for one in subjects for name in (*one.namespaces(cluster), *one.targets(cluster))]
    try:
        with context.cluster(cluster) as api:
            return fetch(api, own, shared)
    except ReconcilerError as error:
        return error


def _observation(
    subject: Subject,
    clusters: Mapping[str, KnownCluster],
    found: Mapping[str, Seen | ReconcilerError],
    folders: OwnFolders,
) -> Observation:
    context = folders.context
    ref, now = subject.resource.ref, context.now()
    pending = _pending(subject, clusters)
    if pending is not None:
        return Observation(ref, pending=pending, note=_foreseen(subject, context), observed_at=now)
    if subject.recorded is None:
        return Observation(ref, state=None, note=_foreseen(subject, context), observed_at=now)
    seen: dict[str, Seen] = {}
    for cluster in subject.clusters:
        answer = found.get(cluster)
        if isinstance(answer, ReconcilerError):
            message = f"cluster {cluster}: {answer.message}"
            unreachable = isinstance(answer, UnreachableError)
            return Observation(ref, unknown=message, unreachable=unreachable, observed_at=now)
        if answer is not None:  # else it is gone, and what was in it
            seen[cluster] = answer
    look = Look(subject, seen, context, folders)
    return Observation(
        ref, state=look.state(), unhealthy=look.trouble(), note=look.note(), facts=look.facts(), observed_at=now
    )


def _foreseen(subject: Subject, context: Context) -> str:
    """What a plan of a new project says beforehand."""
    is_wanted = subject.recorded is None and subject.resource.lifecycle.state == "present"
    return foreseen(subject.spec, context.settings) if is_wanted else ""


class Look:
    """One look at one recorded project. seen: by cluster, what its API shows. Also made by the step that reads back.

    folders: those that were read for other projects in the same look.
    """

    def __init__(
        self, subject: Subject, seen: Mapping[str, Seen], context: Context, folders: OwnFolders | None = None
    ) -> None:
        assert subject.recorded is not None
        self._spec = subject.spec
        self._recorded = subject.recorded
        self._seen = seen
        self._digest_of = context.digest_of
        self._records = context.records
        self._wanted = list(self._both_forms())
        self._folders = folders or OwnFolders(context)
        self._is_leaving = subject.resource.lifecycle.state == "absent"

    def _both_forms(self) -> Iterator[tuple[Place, Any, Place, Any]]:
        """Every wanted object: where and as it is in the API, and in the words of the plan; secrets as digests."""
        for cluster, wanted in objects_of(self._spec).items():
            words = to_plain(wanted, lambda secret: {"secret": self._digest_of(secret)})
            real = filled(words, self._recorded.id)
            for (place, manifest), (told, template) in zip(places(cluster, real), places(cluster, words), strict=True):
                yield place, manifest, told, template

    def state(self) -> State:
        """The normal form."""
        row, spec = self._recorded.project, self._spec
        state: dict[str, Any] = {
            "cluster": row["cluster"] or spec.cluster,
            "namespace": self._in_words(row["namespace"], spec.namespace),
            "project": {name: row[name] or "" for name in ("slug", "description", "visibility", "status")},
        }
        repository = self._repository()
        if repository is not None:
            state["repository"] = repository
        if spec.template is not None:
            state["template"] = self._template(spec.template)
        if spec.flux.install:
            served = {name: not seen.unserved for name, seen in self._seen.items()}
            state["flux"] = seen_installs(spec, self._records, served)
        environments = {one["slug"] or one["type"]: one for one in self._recorded.environments}
        state["environments"] = {
            one.slug: self._environment(environments[one.slug], one)
            for one in spec.environments
            if one.slug in environments
        }
        state["clusters"] = self._clusters()
        gone = sorted(environments.keys() - {one.slug for one in spec.environments})
        state["leftovers"] = [*(f"{ENVIRONMENT_LEFT}{slug}" for slug in gone), *map(str, self.leftovers())]
        return state

    def trouble(self) -> str:
        """Why what is there does not work, in Flux' own words: of the first object that failed; "" while none has.

        Or why nobody can tell whether the template is still as it was pushed.
        """
        for place, live in self._flux_objects():
            health = health_of(live)
            is_late = self._spec.wait_ready and health.state != "current"
            if health.state == "failed" or is_late:
                return f"{place}: {health.reason}: {health.message}"
        return self._own_folder[1]

    def note(self) -> str:
        """What people should know before anything is changed."""
        lacking = [f"cluster {name} serves no {', '.join(seen.unserved)}" for name, seen in self._seen.items()]
        missing = [text for text, seen in zip(lacking, self._seen.values(), strict=True) if seen.unserved]
        return f"{'; '.join(missing)}: Flux is not installed there" if missing else ""

    def facts(self) -> dict[str, Any]:
        """What is kept of the live objects beside what is compared; see `ProjectKind.seen`."""
        return {
            "id": self._recorded.id,
            "objects": [self._status(place, live) for place, live in self._flux_objects()],
        }

    def leftovers(self) -> list[Place]:
        """Objects of this project that are not wanted any more, in the order in which they are applied."""
        wanted = {(place.cluster, place.path) for place, *_ in self._wanted}
        found: list[Place] = []
        for cluster, seen in self._seen.items():
            for path, live in seen.of_project(self._recorded.id):
                if (cluster, path) not in wanted and not is_leaving(live):
                    found.append(_place_of(cluster, live))
        return found

    def _in_words(self, there: str, wanted: str) -> str:
        """A recorded name as the plan has it; one that was never recorded is as wanted."""
        return wanted if there in ("", with_id(wanted, self._recorded.id)) else there

    def _template(self, wanted: TemplateSpec) -> Any:
        """What was pushed, and whether its folder is still like that; as far as nobody can tell, it is."""
        pushed = rows.pushed_of(self._recorded.project)
        if pushed.made_of is None or not wanted.path:
            return pushed.made_of
        there = self._own_folder[0]
        is_as_pushed = there in (None, pushed.folder)
        return {**pushed.made_of, "folder": AS_PUSHED if is_as_pushed else f"{EDITED} ({there:.12})"}

    @cached_property
    def _own_folder(self) -> tuple[str | None, str]:
        """The digest of the template's folder, None where that says nothing; and why it cannot be read."""
        pushed, template = rows.pushed_of(self._recorded.project), self._spec.template
        if template is None or not template.path or pushed.folder is None or self._is_leaving:
            return None, ""
        try:
            return self._folders.digest(template, pushed.folder), ""
        except SpecError as error:
            return None, f"spec.template: {error.message}"

    def _repository(self) -> dict[str, Any] | None:
        name = self._spec.repository.name
        there = self._recorded.repositories
        row = next((one for one in there if one["full_name"] == name), there[0] if there else None)
        if row is None:
            return None
        columns = {"provider": "provider", "name": "full_name", "url": "clone_url", "branch": "default_branch"}
        return {field: row[column] for field, column in columns.items()}

    def _environment(self, row: rows.Row, wanted: EnvironmentSpec) -> dict[str, Any]:
        required, approvals = rows.approvals_of(row)
        return {
            **{name: row[name] or "" for name in ("name", "type", "description", "cluster", "path")},
            "namespace": self._in_words(row["namespace"], wanted.namespace) if row["namespace"] else "",
            "approvalRequired": required,
            "minApprovals": approvals,
            "sequence": row["sequence"],
        }

    def _clusters(self) -> dict[str, Any]:
        """What is there of what is wanted, by cluster, in the words of the plan."""
        recorded = {rows.key_of(row) for row in self._recorded.resources}
        found: dict[str, Any] = {name: {"namespaces": {}, "kustomizations": {}} for name in self._spec.clusters}
        for place, manifest, told, template in self._wanted:
            live = self._seen[place.cluster].get(place.path)
            if live is not None and _is_recorded(place, recorded):
                _put(found[place.cluster], told.part, self._compared(live, manifest, template))
        return found

    def _compared(self, live: Live, manifest: Any, template: Any) -> Any:
        if manifest == PRESENT:
            return PRESENT
        compared = comparable(live, manifest)
        annotations = compared["metadata"].get("annotations")
        if annotations and REQUESTED_AT in annotations:  # ours, and no part of what is wanted
            kept = {name: text for name, text in annotations.items() if name != REQUESTED_AT}
            compared["metadata"] = {**compared["metadata"], "annotations": kept}
            if not kept:
                del compared["metadata"]["annotations"]
        if holds_secrets(live):
            compared = hidden(compared, self._digest_of)
        return _in_words(compared, manifest, template)

    def _flux_objects(self) -> list[tuple[Place, Live]]:
        """The live GitRepositories and Kustomizations that are wanted."""
        found: list[tuple[Place, Live]] = []
        for place, *_ in self._wanted:
            live = self._seen[place.cluster].objects.get(place.path) if place.kind in rows.ROW_TYPES else None
            if live is not None:
                found.append((place, live))
        return found

    def _status(self, place: Place, live: Live) -> dict[str, Any]:
        """What is kept of one Flux object."""
        health, status = health_of(live), live.get("status") or {}
        artifact = status.get("artifact") or {}
        applied = status.get("lastAppliedRevision") or artifact.get("revision")
        return {
            "key": [rows.ROW_TYPES[place.kind], place.cluster, place.namespace, place.name],
            "status": _STATUS[health.state] if status.get("conditions") else "pending",
            "reason": health.reason,
            "message": health.message,
            "applied": applied,
            "attempted": status.get("lastAttemptedRevision") or applied,
        }


def _is_recorded(place: Place, recorded: set[rows.Key]) -> bool:
    """Whether an object has the row that it should have; without one it counts as not there, and is applied again."""
    if place.kind not in rows.ROW_TYPES:
        return True
    return (rows.ROW_TYPES[place.kind], place.cluster, place.namespace, place.name) in recorded


def _put(here: dict[str, Any], part: tuple[str, ...], value: Any) -> None:
    for name in part[:-1]:
        here = here[name]
    here[part[-1]] = value


def _in_words(seen: Any, real: Any, template: Any) -> Any:
    """What was seen, in the words of the plan wherever it is as wanted. real: what is wanted, ids in names."""
    if seen == real:
        return template
    if isinstance(seen, Mapping) and isinstance(real, Mapping):
        return {
            name: _in_words(member, real[name], template[name]) if name in real else member
            for name, member in seen.items()
        }
    if isinstance(seen, list) and isinstance(real, list):
        kept = min(len(seen), len(real))
        return [*map(_in_words, seen[:kept], real, template), *seen[kept:]]
    return seen


def _place_of(cluster: str, live: Live) -> Place:
    """Where a live object is; it is no part of what is wanted."""
    metadata = live["metadata"]
    kind = BY_KIND[live.get("kind") or NAMESPACE.kind].kind
    return Place(cluster, (), kind, metadata.get("namespace", ""), metadata["name"])
