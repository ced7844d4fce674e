"""Documents of a source to resources and problems, incrementally. Used by `validate`, `plan`, `apply` and the daemon.

A load lists the source by stat, reads what may have changed, parses what has, and checks that it fits with the rest. A
file with anything wrong in it is broken as a whole and its last valid resources stay; what is wrong is a Problem. No
input makes `load` raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.kind import Kind
from reconciler.loading.documents import FindingsError, LoadOptions, resource_digest, resource_from_document
from reconciler.loading.files import FileReader, FileState, VariablesState
from reconciler.loading.problems import Problem
from reconciler.loading.sources import VARIABLES_FILE, DirectorySource, DocumentSource, Listing
from reconciler.loading.together import Together
from reconciler.model.resource import Resource, ResourceRef

__all__ = [
    "DirectorySource",
    "DocumentSource",
    "FindingsError",
    "LoadOptions",
    "LoadResult",
    "Loader",
    "Problem",
    "resource_digest",
    "resource_from_document",
]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a source says now.

    resources: everything valid, and what was last valid in files that broke since. problems: in the order of files and
    lines. owners: every owner that the source holds. broken: those with a problem; nothing of them counts as vanished.
    changed: new or with another digest since the previous load of this loader (all, at the first). moved: in another
    file since then, otherwise the same. removed: no longer there since then. readable: False when a part could not be
    seen, so that nothing may be concluded from absence.
    """

    resources: Mapping[ResourceRef, Resource]
    problems: tuple[Problem, ...]
    owners: frozenset[str]
    broken: frozenset[str]
    changed: frozenset[ResourceRef]
    moved: frozenset[ResourceRef]
    removed: frozenset[ResourceRef]
    readable: bool


class Loader:
    """Loads one source again and again. Not to be shared between threads.

    source: where documents are. kinds: by name. options: all else that loading depends on.
    """

    def __init__(self, source: DocumentSource, kinds: Mapping[str, Kind], options: LoadOptions) -> None:
        self._source = source
        self._files = FileReader(source, kinds, options)
        self._states: dict[str, FileState] = {}
        self._variables = VariablesState(self._files.new_state(VARIABLES_FILE), None)
        self._together = Together(source, options.known)

    def load(self) -> LoadResult:
        """Read what has changed since the last call. Never raises for bad input."""
        listing = self._source.list()
        lost, gone = self._read(listing)
        read_again = [state for state in self._states.values() if state.was_read]
        for state in read_again:
            state.was_read = False
        settled = self._together.settle(read_again, gone)
        problems = [*self._variables.file.problems, *lost, *settled.problems]
        named = {one.name for state in self._states.values() for one in state.named if one.where == "source"}
        for state in self._states.values():
            if not state.is_no_document(named):
                problems.extend(state.problems)
        broken = frozenset(problem.owner for problem in problems)
        own = {self._variables.file.owner} if VARIABLES_FILE in listing.files else set()
        return LoadResult(
            resources=self._together.resources,
            problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.column))),
            owners=broken.union(own, (state.owner for state in self._states.values())),
            broken=broken,
            changed=settled.changed,
            moved=settled.moved,
            removed=settled.removed,
            readable=listing.complete,
        )

    def _read(self, listing: Listing) -> tuple[list[Problem], list[FileState]]:
        """Bring the states of all files up to date.

        Returns what is wrong with places that are no known document files, and the files that are gone.
        """
        version = self._variables.version
        faults = {fault.path: fault.message for fault in listing.faults}
        if VARIABLES_FILE in faults:
            self._files.break_variables(self._variables, faults.pop(VARIABLES_FILE))
        elif VARIABLES_FILE in listing.files:
            self._files.read_variables(self._variables, listing.files[VARIABLES_FILE])
        else:
            self._files.no_variables(self._variables)
        is_new_version = version != self._variables.version
        for path, signature in listing.files.items():
            if path == VARIABLES_FILE:
                continue
            state = self._states.get(path)
            if state is None:
                state = self._states[path] = self._files.new_state(path)
            forced = is_new_version and state.uses_variables
            if forced or not self._files.is_current(state, signature):
                self._files.read(state, signature, self._variables.variables, forced=forced)
        return self._faulty(faults), self._gone(listing, faults)

    def _faulty(self, faults: Mapping[str, str]) -> list[Problem]:
        """Mark known files that cannot be read any more. Returns the problems of everything else."""
        problems: list[Problem] = []
        for path, message in faults.items():
            state = self._states.get(path)
            if state is not None:
                state.break_with(state.problem(message))
            else:
                problems.append(self._files.new_state(path).problem(message))
        return problems

    def _gone(self, listing: Listing, faults: Mapping[str, str]) -> list[FileState]:
        """Forget the files that are gone for certain; the others are only out of sight."""
        missing = self._states.keys() - listing.files.keys() - faults.keys()
        if listing.complete:
            return [self._states.pop(path) for path in missing]
        for path in missing:
            state = self._states[path]
            state.break_with(state.problem("cannot be seen now: what was last valid in it stays"))
        return []
