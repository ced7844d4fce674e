"""Desired state in memory: what the sources say, merged with what the store remembers. Held by CLI commands and daemon.

The first `load` reads everything, later ones only what changed. `load` writes nothing, so that a plan is a look;
`record` stores generations, vanished resources and problems.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from reconciler.engine.recorded import Wishes, read_wishes
from reconciler.engine.runtime import Runtime
from reconciler.errors import SpecError, UsageError
from reconciler.model.plan import Obstacle
from reconciler.model.record import Record
from reconciler.model.resource import RECORD_OWNER, Resource, ResourceRef
from reconciler.store import remembered as store
from reconciler.store.remembered import Desired, Scope

if TYPE_CHECKING:
    from reconciler.loading.loader import DocumentSource, Loader, LoadResult, Problem
    from reconciler.model.commit import Commit
    from reconciler.store.reading import Readable

T = TypeVar("T")


@dataclass(slots=True)
class Workspace:
    """What is wanted and remembered. Not safe for threads: one thread loads, others read the dicts it replaced.

    desired: every resource of every owner. records: everything remembered. frozen: resources known only in stored form,
    and why. problems: of the last load. empty: the source was readable and named nothing. broken: what is
    wrong with one of its documents, or "". revision: the commit that was read last, or "". sync: token of the request
    that the next load answers.
    """

    runtime: Runtime
    source: DocumentSource | None = None
    loader: Loader | None = None
    prefixes: tuple[str, ...] = ()
    desired: dict[ResourceRef, Resource] = field(default_factory=dict)
    records: dict[ResourceRef, Record] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    frozen: dict[ResourceRef, str] = field(default_factory=dict)
    wanted: dict[ResourceRef, Resource] = field(default_factory=dict)
    empty: bool = False
    broken: str = ""
    readable: bool = True
    revision: str = ""
    sync: str = ""
    _answering: str = ""
    _stored: dict[ResourceRef, Resource] = field(default_factory=dict)
    _conflicts: dict[ResourceRef, store.Conflict] = field(default_factory=dict)
    _merged: Desired | None = None
    _unrecorded: set[ResourceRef] | None = None

    def load(self) -> frozenset[ResourceRef]:
        """Read sources and store. Returns what is new, changed, vanished or newly broken since the last record.

        Also what another process has recorded already: that it is stored does not mean that anybody acted on it.
        """
        self._answering = self.sync
        result = self.loader.load() if self.loader is not None else None
        self.revision = self.source.revision if self.source is not None else ""
        with self.runtime.database.reading() as connection:  # one, so that nothing seems to be gone that just came
            api, api_problems = self._api_resources(connection)
            recorded = read_wishes(self.runtime, connection)
            stored = {**recorded.resources, **api}
            wanted = {**recorded.resources, **(result.resources if result is not None else {}), **api}
            touched = self._unrecorded = self._touched(result, stored)
            scope = self._scope(result, recorded)
            part = wanted if touched is None else {ref: wanted[ref] for ref in touched if ref in wanted}
            merged = store.merge(connection, part, scope, touched)
            abandoned = frozenset(entry.owner for entry in merged.conflicts if _is_gone(entry.owner))
            if abandoned:
                merged = store.merge(connection, part, replace(scope, abandoned=abandoned), touched)
        self._take(merged, wanted, touched)
        self._stored = stored
        conflicts = self._find_conflicts(result, merged, touched)
        self.wanted = _without(wanted, self._conflicts)  # they are their owners' to look after
        found = result.problems if result is not None else ()
        self.problems = (*found, *api_problems, *recorded.problems, *conflicts)
        self.empty = result is not None and result.readable and not result.resources and not result.problems
        self.readable = result is None or result.readable
        self.broken = _broken(result)
        newly_broken = self._freeze(result)
        loaded = (touched or set()) - self.frozen.keys()
        return merged.changed | frozenset(merged.vanished) | newly_broken | loaded

    @property
    def commit(self) -> Commit | None:
        """The commit that was read last; None without git."""
        return self.source.commit if self.source is not None else None

    def scope(self) -> list[ResourceRef]:
        """What this workspace is asked to look after: its sources' resources, the store's, and what vanished."""
        vanished = [ref for ref, record in self.records.items() if record.vanished]
        stored = [ref for ref, record in self.records.items() if record.resource.source.owner.startswith(self.prefixes)]
        return list(dict.fromkeys((*self.wanted, *vanished, *stored, *self.frozen)))

    def unsure(self) -> Obstacle | None:
        """Why nothing can be concluded now from what no document names, also of what vanished long ago.

        Somebody may just have written it again, into the document that cannot be read.
        """
        if self.empty:
            return Obstacle("blocked", "EmptySource", "the specs name no resource at all: nothing is deleted for that")
        if self.broken:
            return Obstacle(
                "blocked", "SpecsBroken", f"it may be in what cannot be read; repair this first: {self.broken}"
            )
        return None

    def record(self) -> None:
        """Store what the last load found."""
        from reconciler.store import resources, sources  # noqa: PLC0415 - sqlalchemy, only for who writes

        assert self._merged is not None
        with self.runtime.writing() as connection:
            resources.record(self.runtime.database, connection, self._merged, self.runtime.recording())
            now = self.runtime.database.now(connection)
            sources.write_problems(connection, [_problem_row(problem, now) for problem in self.problems[:1000]])
            for prefix in self.prefixes:
                assert self.source is not None
                state = sources.SourceState(
                    prefix, self.source.commit, self.readable, self.source.trouble, self._answering
                )
                sources.write(self.runtime.database, connection, state)
        self._unrecorded = set()

    def problem_of(self, ref: ResourceRef) -> str:
        """What is wrong with the document of a resource; "" when nothing is."""
        record = self.records.get(ref)
        owner = record.resource.source.owner if record is not None else None
        return next(
            (str(one) for one in self.problems if one.ref == ref or (one.ref is None and one.owner == owner)), ""
        )

    def _api_resources(self, connection: Readable) -> tuple[dict[ResourceRef, Resource], tuple[Problem, ...]]:
        """Resources that the API or the CLI owns, from the documents in the store."""
        from reconciler.loading.loader import Problem, resource_from_document  # noqa: PLC0415 - pulls in the schema code

        found: dict[ResourceRef, Resource] = {}
        problems: list[Problem] = []
        for ref, document in store.documents(connection).items():
            try:
                options = self.runtime.load_options()
                found[ref] = resource_from_document(document, self.runtime.kinds, options, store.API_OWNER)
            except SpecError as error:
                problems.append(Problem("api", 0, 0, f"{ref}: {error.message}", store.API_OWNER, ref))
        return found, tuple(problems)

    def _touched(self, result: LoadResult | None, stored: Mapping[ResourceRef, Resource]) -> set[ResourceRef] | None:
        """What may differ from what was recorded last; None: all of it. What the store wants is compared by digest.

        What is frozen was in no load of this process, so that its end is in none either: it is looked at every time.
        """
        if self._unrecorded is None:
            return None
        touched = self._unrecorded | self.frozen.keys() | (self._stored.keys() - stored.keys())
        if result is not None:
            touched |= result.changed | result.moved | result.removed
        for ref, resource in stored.items():
            before = self._stored.get(ref)
            if before is None or before.digest != resource.digest:
                touched.add(ref)
        return touched

    def _scope(self, result: LoadResult | None, recorded: Wishes) -> Scope:
        """What may be concluded from absence: nothing where the source could not be read, nor of what the API owns.

        That is withdrawn by name, so a document of it that is missing is one that cannot be read.
        """
        records = (RECORD_OWNER,) if recorded.complete else ()
        if result is None or not result.readable:
            return Scope(records, revision=self.revision)
        return Scope((*self.prefixes, *records), result.broken, self.revision)

    def _take(self, merged: Desired, wanted: dict[ResourceRef, Resource], touched: set[ResourceRef] | None) -> None:
        if touched is None:
            self.desired, self.records = merged.resources, dict(merged.records)
        else:
            self.desired = _without(self.desired, touched) | merged.resources
            self.records = _without(self.records, touched) | merged.records
        for ref in merged.changed:
            if ref not in self.records:
                self.records[ref] = Record(ref, merged.resources[ref])
        self.wanted = wanted
        self._merged = merged

    def _freeze(self, result: LoadResult | None) -> frozenset[ResourceRef]:
        """Resources of files that cannot be read now and that this process never read."""
        frozen: dict[ResourceRef, str] = {}
        for ref in self.desired.keys() - self.wanted.keys():
            owner = self.desired[ref].source.owner
            if owner in (store.API_OWNER, RECORD_OWNER) or (bool(self.prefixes) and owner.startswith(self.prefixes)):
                frozen[ref] = self.problem_of(ref) or self._why_unknown(owner)
        broken: set[ResourceRef] = set()
        if result is not None and result.broken:
            broken = {ref for ref, resource in self.desired.items() if resource.source.owner in result.broken}
        news = (frozen.keys() - self.frozen.keys()) | broken
        self.frozen = frozen
        return frozenset(news)

    def _why_unknown(self, owner: str) -> str:
        if not self.readable or not self.problems:
            return f"{owner} cannot be read"
        return f"no spec has it, but that means nothing until this is repaired: {self.problems[0]}"

    def _find_conflicts(
        self, result: LoadResult | None, merged: Desired, touched: set[ResourceRef] | None
    ) -> list[Problem]:
        """A problem for each resource that two owners want, whether or not this load touched it."""
        kept = {} if touched is None else _without(self._conflicts, touched)
        self._conflicts = kept | {entry.ref: entry for entry in merged.conflicts}
        named = result.resources if result is not None else {}
        api = (ref for ref, resource in self._stored.items() if resource.source.owner == store.API_OWNER)
        with_api = [store.Conflict(ref, store.API_OWNER, named[ref].source) for ref in api if ref in named]
        return [self._conflict(entry) for entry in (*self._conflicts.values(), *with_api)]

    def _conflict(self, entry: store.Conflict) -> Problem:
        from reconciler.loading.loader import Problem  # noqa: PLC0415 - pulls in the schema code

        wanted_by = entry.wanted_by
        message = f"{entry.ref} is owned by {entry.owner}; {wanted_by} may not have it as well"
        is_file = wanted_by.owner.startswith("file:")
        path = os.path.relpath(wanted_by.owner.removeprefix("file:")) if is_file else wanted_by.owner
        return Problem(path, wanted_by.line, wanted_by.column, message, wanted_by.owner, entry.ref)


def _without(resources: Mapping[ResourceRef, T], refs: Iterable[ResourceRef]) -> dict[ResourceRef, T]:
    """A copy that lacks some: copying ten thousand is cheap, looking at each is not."""
    rest = dict(resources)
    for ref in refs:
        rest.pop(ref, None)
    return rest


def _broken(result: LoadResult | None) -> str:
    """What is wrong with one document of the source, or with the source; "" when all of it could be read."""
    if result is None or (result.readable and not result.broken):
        return ""
    first = next((problem for problem in result.problems if problem.owner in result.broken), None)
    return str(first) if first is not None else "the source cannot be read"


def _is_gone(owner: str) -> bool:
    """Whether an owner is a file that is no more: its folder was moved, so what it owned is free to be taken over."""
    return owner.startswith("file:") and not os.path.lexists(owner.removeprefix("file:"))


def _problem_row(problem: Problem, now: float) -> dict[str, object]:
    return {
        "owner": problem.owner[:512],
        "path": problem.path[:512],
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "kind": problem.ref.kind if problem.ref else "",
        "name": problem.ref.name if problem.ref else "",
        "at": now,
    }


def matching(refs: Iterable[ResourceRef], patterns: Iterable[str]) -> list[ResourceRef]:
    """The refs that match one of the `Kind/name` globs. Raises UsageError when none does."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only for a selection

    listed = list(patterns)
    found = [ref for ref in refs if any(fnmatchcase(str(ref), one if "/" in one else f"*/{one}") for one in listed)]
    if not found:
        raise UsageError("NothingSelected", f"nothing matches {', '.join(listed)}")
    return found
