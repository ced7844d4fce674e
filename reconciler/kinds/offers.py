"""What kinds offer beside being kinds (the optional protocols of `kind`), checked as `guarded` checks the rest.

`Kinds.offering` gives an `Offers` for each kind that has the protocol; called by the engine, the daemon and the page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.kind import Context, KnownCluster, Records, Wanted, Watch
from reconciler.model.finding import Finding
from reconciler.model.observation import Observation
from reconciler.model.plain import plain_fault
from reconciler.model.resource import Resource

log = logging.getLogger(__name__)

T = TypeVar("T")


class Offers:
    """Asks for what a kind offers, and checks what it says. Only what the kind really has may be called."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def recorded(self, records: Records) -> Iterable[Mapping[str, Any]]:
        """See KeepsWishes. Raises TerminalError when something in it is no document."""
        found: tuple[Any, ...] = self._called("recorded", lambda: tuple(self._kind.recorded(records)))
        fault = next((fault for one in found if (fault := _document_fault(one))), "")
        if fault:
            raise self._fault("what its records want", fault)
        return found

    def want(self, records: Records, name: str, state: Wanted) -> None:
        """See KeepsWishes."""
        self._called("want", lambda: self._kind.want(records, name, state))

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """See TellsFacts. Raises TerminalError for what cannot be shown."""
        found = self._called("facts", lambda: {name: dict(one) for name, one in self._kind.facts(records).items()})
        if fault := plain_fault(found):
            raise self._fault("what it says of its records", fault)
        return found

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """See KeepsSeen."""
        self._called("seen", lambda: self._kind.seen(records, resource, observation))

    def clusters(self, records: Records, home: Path) -> Mapping[str, KnownCluster]:
        """See RecordsClusters."""
        found = self._called("clusters", lambda: dict(self._kind.clusters(records, home)))
        if not all(isinstance(one, KnownCluster) and one.name == name for name, one in found.items()):
            raise self._fault("its clusters", "one is no cluster")
        return found

    def follows(self, resource: Resource) -> Sequence[str]:
        """See Follows."""
        found: tuple[Any, ...] = self._called("follows", lambda: tuple(self._kind.follows(resource)))
        if not all(isinstance(name, str) for name in found):
            raise self._fault("what it follows", "one is no name of a kind")
        return found

    def claims(self, resource: Resource) -> Mapping[str, str]:
        """See Claims."""
        found: dict[str, str] = self._called("claims", lambda: dict(self._kind.claims(resource)))
        if not all(isinstance(word, str) for pair in found.items() for word in pair):
            raise self._fault("what it claims", "one is no text")
        return found

    def watches(self, resource: Resource) -> Sequence[Watch]:
        """See WatchesLive."""
        found: tuple[Any, ...] = self._called("watches", lambda: tuple(self._kind.watches(resource)))
        if not all(isinstance(watch, Watch) for watch in found):
            raise self._fault("what it watches", "one is no watch")
        return found

    def checks(self, resource: Resource, context: Context) -> Sequence[Finding]:
        """See Checks."""
        found: tuple[Any, ...] = self._called("checks", lambda: tuple(self._kind.checks(resource, context)))
        if not all(isinstance(one, Finding) for one in found):
            raise self._fault("what it checked", "one is no finding")
        return found

    def _called(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except ReconcilerError:
            raise
        except (Exception, SystemExit) as error:
            log.debug("%s: %s failed", self._kind.name, what, exc_info=True)
            message = f"kind {self._kind.name}: {what} failed: {type(error).__name__}: {error}"
            raise TerminalError("KindFailed", message) from error

    def _fault(self, what: str, why: str) -> TerminalError:
        return TerminalError("KindFailed", f"kind {self._kind.name}: {what} is of no use: {why}")


def _document_fault(one: Any) -> str:
    """What is wrong with a document of a kind's records; "" for nothing that the loader would not say better."""
    return plain_fault(one) if isinstance(one, Mapping) else f"one is a {type(one).__name__}"
