"""What is wrong between documents: duplicates, missing references, cycles. Pure; only `loader` uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from reconciler.loading.text import suggestion
from reconciler.model.resource import ResourceRef

Requires = Callable[[ResourceRef], Sequence[ResourceRef]]
_SHOWN = 12


def find_cycles(starts: Iterable[ResourceRef], requires: Requires) -> Iterator[tuple[ResourceRef, ...]]:
    """Cycles that can be reached from `starts`, each as its members in order; at least one of every knot.

    Without recursion: chains may be as long as there are resources.
    """
    done: set[ResourceRef] = set()
    for start in starts:
        if start in done:
            continue
        path: list[ResourceRef] = [start]
        position = {start: 0}
        waiting = [iter(requires(start))]
        while path:
            following = next(waiting[-1], None)
            if following is None:
                waiting.pop()
                finished = path.pop()
                del position[finished]
                done.add(finished)
            elif following in position:
                yield tuple(path[position[following] :])
            elif following not in done:
                position[following] = len(path)
                path.append(following)
                waiting.append(iter(requires(following)))


def cycle_message(cycle: Sequence[ResourceRef], begin: int) -> str:
    """The cycle written out, beginning and ending with the member at `begin`; of a long one only the first part."""
    names = [str(cycle[(begin + step) % len(cycle)]) for step in range(min(len(cycle), _SHOWN))]
    if len(cycle) > _SHOWN:
        names[-1] = f"… ({len(cycle)} in all)"
    return f"dependency cycle: {' -> '.join([*names, names[0]])}"


def missing_message(missing: ResourceRef, known: Mapping[ResourceRef, object] | Collection[ResourceRef]) -> str:
    """That a reference leads nowhere, and which one was probably meant."""
    same_name = next((ref for ref in known if ref.name == missing.name), None)
    hint = f', did you mean "{same_name}"?' if same_name else ""
    if not hint:
        candidates = (ref.name for ref in known if ref.kind == missing.kind)
        hint = suggestion(missing.name, (name for name in candidates if abs(len(name) - len(missing.name)) <= 2))
    return f"needs {missing}, which does not exist or is not valid{hint}"
