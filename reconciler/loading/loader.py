"""Documents of a source to resources and problems, incrementally. Used by `validate`, `plan`, `apply` and the daemon.

A load lists the source by stat, reads what may have changed, and parses what has. Then everything is checked together:
no resource twice, no reference that leads nowhere, no cycle. A file with anything wrong in it is broken as a whole and
its last valid resources stay; what is wrong is a Problem. No input makes `load` raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.kind import Kind
from reconciler.loading.documents import FindingsError, LoadOptions, resource_digest, resource_from_document
from reconciler.loading.files import FileReader, FileState, Loaded, VariablesState
from reconciler.loading.graph import cycle_message, find_cycles, missing_message
from reconciler.loading.problems import Problem
from reconciler.loading.reader import YamlError, nearest_place, read_places
from reconciler.loading.sources import VARIABLES_FILE, DirectorySource, DocumentSource, Listing, SourceError
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
_MAX_PLACED = 20  # problems a load whose exact place is looked up by reading their file again


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a source says now.

    resources: everything valid, and what was last valid in files that broke since. problems: in the order of files and
    lines. owners: every owner that the source holds. broken: those with a problem; nothing of them counts as vanished.
    changed: new or with another digest since the previous load of this loader (all, at the first). removed: no longer
    there since then. readable: False when a part could not be seen, so that nothing may be concluded from absence.
    """

    resources: Mapping[ResourceRef, Resource]
    problems: tuple[Problem, ...]
    owners: frozenset[str]
    broken: frozenset[str]
    changed: frozenset[ResourceRef]
    removed: frozenset[ResourceRef]
    readable: bool


View = dict[ResourceRef, tuple[Loaded, FileState]]


class Loader:
    """Loads one source again and again. Not to be shared between threads.

    source: where documents are. kinds: by name. options: all else that loading depends on.
    """

    def __init__(self, source: DocumentSource, kinds: Mapping[str, Kind], options: LoadOptions) -> None:
        self._source = source
        self._options = options
        self._files = FileReader(source, kinds, options)
        self._states: dict[str, FileState] = {}
        self._variables = VariablesState(self._files.new_state(VARIABLES_FILE), None)
        self._view: View = {}
        self._resources: dict[ResourceRef, Resource] = {}

    def load(self) -> LoadResult:
        """Read what has changed since the last call. Never raises for bad input."""
        listing = self._source.list()
        lost = self._read(listing)
        view, between = self._settled()
        problems = [*self._variables.file.problems, *lost, *between]
        for state in self._states.values():
            problems.extend(state.problems)
        broken = {problem.owner for problem in problems}
        owners = broken | {state.owner for state in self._states.values()}
        if VARIABLES_FILE in listing.files:
            owners.add(self._variables.file.owner)
        resources = {ref: loaded.resource for ref, (loaded, _) in view.items()}
        before, self._resources, self._view = self._resources, resources, view
        return LoadResult(
            resources=resources,
            problems=tuple(sorted(problems, key=lambda problem: (problem.path, problem.line, problem.column))),
            owners=frozenset(owners),
            broken=frozenset(broken),
            changed=frozenset(_changed(before, resources)),
            removed=frozenset(before.keys() - resources.keys()),
            readable=listing.complete,
        )

    def _read(self, listing: Listing) -> list[Problem]:
        """Bring the states of all files up to date. Returns what is wrong with places that are no document files."""
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
        return self._lose(listing, faults)

    def _lose(self, listing: Listing, faults: Mapping[str, str]) -> list[Problem]:
        """Forget files that are gone for certain; mark the others that could not be listed."""
        problems: list[Problem] = []
        for path, message in faults.items():
            state = self._states.get(path) or self._files.new_state(path)
            problem = state.problem(message)
            if path in self._states:
                state.break_with(problem)
            else:
                problems.append(problem)
        for path in self._states.keys() - listing.files.keys() - faults.keys():
            if listing.complete:
                del self._states[path]
            else:
                state = self._states[path]
                state.break_with(state.problem("cannot be seen now: what was last valid in it stays"))
        return problems

    def _settled(self) -> tuple[View, list[Problem]]:
        """The resources that are valid together, and what is wrong between the others.

        A file with a problem falls back to what was last accepted of it, which may in turn leave others without what
        they need; so it is checked again until nothing more falls. Each round at least one file falls.
        """
        problems: list[Problem] = []
        fallen: set[str] = {path for path, state in self._states.items() if state.fresh is None}
        while True:
            view, found = self._merged(fallen)
            if not found:
                found = [*self._missing(view, fallen), *self._cycles(view, fallen)]
            if not found:
                break
            problems.extend(problem for _, problem in found)
            fallen.update(state.path for state, _ in found)
        for path, state in self._states.items():
            if path not in fallen and state.fresh is not None:
                state.accepted = state.fresh
        return view, problems

    def _merged(self, fallen: set[str]) -> tuple[View, list[tuple[FileState, Problem]]]:
        """All resources by reference, those of fallen files as they were; and the duplicates among them."""
        view: View = {}
        found: list[tuple[FileState, Problem]] = []
        for path in fallen:
            state = self._states[path]
            view.update((loaded.resource.ref, (loaded, state)) for loaded in state.accepted)
        for path, state in self._states.items():
            if path in fallen:
                continue
            for loaded in state.fresh or ():
                ref = loaded.resource.ref
                other = view.setdefault(ref, (loaded, state))
                if other[0] is not loaded:
                    found.extend(_duplicate(other, (loaded, state), fallen))
        return view, found

    def _missing(self, view: View, fallen: set[str]) -> Iterator[tuple[FileState, Problem]]:
        """References that lead nowhere, and those to resources that fall because of them, and so on."""
        unmet = [
            (loaded, state, ref)
            for loaded, state in view.values()
            if loaded.requires and state.path not in fallen
            for ref in loaded.requires
            if ref not in view
        ]
        if not unmet:
            return
        known = frozenset(self._options.known())
        dependents: dict[ResourceRef, list[tuple[Loaded, FileState]]] = {}
        for loaded, state in view.values():
            for ref in loaded.requires:
                dependents.setdefault(ref, []).append((loaded, state))
        falling = set(fallen)
        waiting = [entry for entry in unmet if entry[2] not in known]
        for count, (loaded, state, ref) in enumerate(waiting):  # grows while it is walked
            message = missing_message(ref, view) if count < _MAX_PLACED else missing_message(ref, ())
            place = self._place(loaded, state, ref if count < _MAX_PLACED else None)
            yield state, state.problem(message, *place, loaded.resource.ref)
            if state.path not in falling:
                falling.add(state.path)
                lost = {one.resource.ref for one in state.fresh or ()} - {one.resource.ref for one in state.accepted}
                waiting.extend(
                    (*entry, ref)
                    for ref in lost - known
                    for entry in dependents.get(ref, ())
                    if entry[1].path not in falling
                )

    def _cycles(self, view: View, fallen: set[str]) -> Iterator[tuple[FileState, Problem]]:
        """New cycles: what was accepted before has none, so each leads through something that is new."""

        def requires(ref: ResourceRef) -> tuple[ResourceRef, ...]:
            entry = view.get(ref)
            return entry[0].requires if entry else ()

        before = self._view
        starts = [ref for ref, (loaded, _) in view.items() if ref not in before or before[ref][0] is not loaded]
        for cycle in find_cycles(starts, requires):
            for ref in cycle:
                loaded, state = view[ref]
                if state.path not in fallen:
                    source = loaded.resource.source
                    yield state, state.problem(cycle_message(cycle, ref), source.line, source.column, ref)

    def _place(self, loaded: Loaded, state: FileState, wanted: ResourceRef | None) -> tuple[int, int]:
        """Where a resource names `wanted` in `dependsOn`, else where it begins."""
        source = loaded.resource.source
        depends_on = loaded.resource.lifecycle.depends_on
        if wanted in depends_on:
            try:
                for places in read_places(self._source.read(state.path)):
                    if places.get(()) == (source.line, source.column):
                        return nearest_place(places, ("lifecycle", "dependsOn", depends_on.index(wanted)))
            except (SourceError, YamlError):  # changed since: the next load sees it
                pass
        return source.line, source.column


def _changed(before: Mapping[ResourceRef, Resource], now: Mapping[ResourceRef, Resource]) -> Iterator[ResourceRef]:
    for ref, resource in now.items():
        old = before.get(ref)
        if old is not resource and (old is None or old.digest != resource.digest):
            yield ref


def _duplicate(
    one: tuple[Loaded, FileState], two: tuple[Loaded, FileState], fallen: set[str]
) -> Iterator[tuple[FileState, Problem]]:
    """A problem for each of two places that define the same resource, unless its file has fallen back already."""
    for (mine, state), (other, elsewhere) in ((one, two), (two, one)):
        if state.path not in fallen:
            here, there = mine.resource.source, other.resource.source
            message = f"{mine.resource.ref} is also defined in {elsewhere.shown}:{there.line}:{there.column}"
            yield state, state.problem(message, here.line, here.column, mine.resource.ref)
