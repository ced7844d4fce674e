"""The resources of all files, valid together: none twice, no reference that leads nowhere, no cycle. Used by `loader`.

Only files that were read again, and files that did not fit before, are checked: what the others hold was valid together
already, and a new conflict, gap or cycle must lead through something that is new or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from reconciler.loading.files import FileState, Loaded
from reconciler.loading.graph import cycle_message, find_cycles, missing_message
from reconciler.loading.problems import Problem
from reconciler.loading.reader import YamlError, nearest_place, read_places
from reconciler.loading.sources import DocumentSource, SourceError
from reconciler.model.resource import Resource, ResourceRef

View = dict[ResourceRef, tuple[Loaded, FileState]]
Found = tuple[FileState, Problem]
_MAX_PLACED = 20  # problems whose exact place is looked up by reading their file again


@dataclass(frozen=True, slots=True)
class Settled:
    """What one round of checking came to. changed, moved, removed: against the round before."""

    problems: tuple[Problem, ...] = ()
    changed: frozenset[ResourceRef] = frozenset()
    moved: frozenset[ResourceRef] = frozenset()
    removed: frozenset[ResourceRef] = frozenset()


class Together:
    """Keeps what is valid between loads. known: resources outside of the source that may be referred to."""

    def __init__(self, source: DocumentSource, known: Callable[[], Collection[ResourceRef]]) -> None:
        self.resources: dict[ResourceRef, Resource] = {}
        self._source = source
        self._known = known
        self._view: View = {}
        self._unfit: dict[str, FileState] = {}  # valid by themselves, not with the others
        self._outside: set[ResourceRef] = set()  # what is needed and only `known`

    def settle(self, read_again: Iterable[FileState], gone: Collection[FileState]) -> Settled:
        """Take over what files say now. gone: files that were deleted.

        A file with a problem falls back to what was last accepted of it, which may in turn leave others without what
        they need; so everything touched is checked again until nothing more falls.
        """
        touched = {**self._unfit, **{state.path: state for state in read_again}}
        for state in gone:
            touched.pop(state.path, None)
        known = frozenset(self._known()) if self._outside else frozenset()
        lost_outside = self._outside - known
        if not (touched or gone or lost_outside):
            return Settled()
        check = _Check(self._view, touched, gone, self._source, self._known)
        view, problems = check.run(lost_outside)
        self._unfit = {path: state for path, state in check.fallen.items() if state.fresh is not None}
        self._outside = (self._outside | check.outside) - lost_outside
        self._view = view
        affected = set(check.before)
        for path, state in touched.items():
            if path not in check.fallen and state.fresh is not None:
                state.accepted = state.fresh
                affected.update(loaded.resource.ref for loaded in state.accepted)
        return self._take_over(affected, problems)

    def _take_over(self, affected: Iterable[ResourceRef], problems: list[Problem]) -> Settled:
        """Bring `resources` (a new mapping: results keep the old one) up to date where something may differ."""
        resources = dict(self.resources)
        changed: set[ResourceRef] = set()
        moved: set[ResourceRef] = set()
        removed: set[ResourceRef] = set()
        for ref in affected:
            before = self.resources.get(ref)
            if ref not in self._view:
                if resources.pop(ref, None) is not None:
                    removed.add(ref)
                continue
            resource = resources[ref] = self._view[ref][0].resource
            if before is None or before.digest != resource.digest:
                changed.add(ref)
            elif before.source.owner != resource.source.owner:
                moved.add(ref)
        self.resources = resources
        return Settled(tuple(problems), frozenset(changed), frozenset(moved), frozenset(removed))


class _Check:
    """One round. fallen: files that stay as they last were. before: what the touched files had in the view."""

    def __init__(
        self,
        view: View,
        touched: dict[str, FileState],
        gone: Collection[FileState],
        source: DocumentSource,
        known: Callable[[], Collection[ResourceRef]],
    ) -> None:
        self.fallen = {path: state for path, state in touched.items() if state.fresh is None}
        self.outside: set[ResourceRef] = set()
        self.before: View = {}
        self._base = dict(view)
        for state in (*touched.values(), *gone):
            for loaded in state.accepted:
                self.before[loaded.resource.ref] = self._base.pop(loaded.resource.ref)
        self._touched = touched
        self._source = source
        self._known = known

    def run(self, lost_outside: Collection[ResourceRef]) -> tuple[View, list[Problem]]:
        """The resources that are valid together, and what is wrong between the others."""
        problems: list[Problem] = []
        while True:
            view, found = self._merged()
            if not found:
                found = [*self._missing(view, lost_outside), *self._cycles(view)]
            if not found:
                return view, problems
            problems.extend(problem for _, problem in found)
            self.fallen.update((state.path, state) for state, _ in found)

    def _candidates(self) -> Iterator[tuple[Loaded, FileState]]:
        """What files that were not given up yet want to be."""
        for path, state in self._touched.items():
            if path not in self.fallen:
                for loaded in state.fresh or ():
                    yield loaded, state

    def _merged(self) -> tuple[View, list[Found]]:
        """Everything by reference, fallen files as they were; and the duplicates."""
        view = dict(self._base)
        for path in self._touched.keys() & self.fallen.keys():
            state = self.fallen[path]
            view.update((loaded.resource.ref, (loaded, state)) for loaded in state.accepted)
        found: list[Found] = []
        for entry in self._candidates():
            other = view.setdefault(entry[0].resource.ref, entry)
            if other is not entry:
                found.extend(_duplicate(other, entry, self.fallen))
        return view, found

    def _missing(self, view: View, lost_outside: Collection[ResourceRef]) -> Iterator[Found]:
        """References that lead nowhere, and those to resources that fall because of them, and so on."""
        is_lost = bool(lost_outside) or not (self.before.keys() <= view.keys())
        entries = view.values() if is_lost else self._candidates()
        unmet = [
            (loaded, state, ref)
            for loaded, state in entries
            for ref in loaded.requires
            if ref not in view and state.path not in self.fallen
        ]
        if not unmet:
            return
        known = frozenset(self._known())
        self.outside.update(ref for _, _, ref in unmet if ref in known)
        dependents: dict[ResourceRef, list[tuple[Loaded, FileState]]] = {}
        for entry in view.values():
            for ref in entry[0].requires:
                dependents.setdefault(ref, []).append(entry)
        falling = set(self.fallen)
        waiting = [entry for entry in unmet if entry[2] not in known]
        for count, (loaded, state, ref) in enumerate(waiting):  # grows while it is walked
            is_placed = count < _MAX_PLACED
            place = self._place(loaded, state, ref if is_placed else None)
            message = missing_message(ref, view if is_placed else ())
            yield state, state.problem(message, *place, loaded.resource.ref)
            if state.path not in falling:
                falling.add(state.path)
                lost = {one.resource.ref for one in state.fresh or ()} - {one.resource.ref for one in state.accepted}
                for gone in lost - known:
                    waiting.extend((*entry, gone) for entry in dependents.get(gone, ()) if entry[1].path not in falling)

    def _cycles(self, view: View) -> Iterator[Found]:
        def requires(ref: ResourceRef) -> tuple[ResourceRef, ...]:
            entry = view.get(ref)
            return entry[0].requires if entry else ()

        for cycle in find_cycles((loaded.resource.ref for loaded, _ in self._candidates()), requires):
            for begin, ref in enumerate(cycle):
                loaded, state = view[ref]
                if state.path not in self.fallen:
                    source = loaded.resource.source
                    yield state, state.problem(cycle_message(cycle, begin), source.line, source.column, ref)

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


def _duplicate(
    one: tuple[Loaded, FileState], two: tuple[Loaded, FileState], fallen: Collection[str]
) -> Iterator[Found]:
    """A problem for each of two places that define the same resource, unless its file has fallen back already."""
    for (mine, state), (other, elsewhere) in ((one, two), (two, one)):
        if state.path not in fallen:
            here, there = mine.resource.source, other.resource.source
            message = f"{mine.resource.ref} is also defined in {elsewhere.shown}:{there.line}:{there.column}"
            yield state, state.problem(message, here.line, here.column, mine.resource.ref)
