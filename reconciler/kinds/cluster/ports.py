"""Which ports a cluster gets. Pure; `reserving` calls it inside the transaction that records the cluster.

Host ports belong to the host: no two clusters have the same, whatever it is for, and nobody else listens there. A node
port belongs to the address of a node. A port that was given is kept as long as the cluster is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import TerminalError, UsageError

HOST_PORTS = ("pfPort", "httpPort", "httpsPort")
NODE_PORT = "nodePort"
PORTS = (NODE_PORT, *HOST_PORTS)
NODE_PORTS = range(30000, 32768)
_SETTINGS = {"pfPort": "pf", "httpPort": "http", "httpsPort": "https"}
_DEFAULTS = {"pf": "19001-19999", "http": "18090-18999", "https": "18443-18999"}
_RANGE = re.compile(r"([0-9]{4,5})-([0-9]{4,5})")


@dataclass(frozen=True, slots=True)
class Grant:
    """A port as it was given. asked: what the spec named, None for none. why: who has the one that was asked for."""

    asked: int | None
    given: int
    why: str = ""

    @property
    def is_another(self) -> bool:
        """Whether it is not the one that was asked for."""
        return self.asked is not None and self.asked != self.given


@dataclass(frozen=True, slots=True)
class Wish:
    """What a cluster needs, by the names of ports in a spec.

    asked: the ports that its spec names. held: what it was given before. ranges: from which to give what is not asked
    for. strict: rather fail than give another port than the one that was asked for.
    """

    asked: Mapping[str, int]
    held: Mapping[str, Grant] = field(default_factory=dict)
    ranges: Mapping[str, range] = field(default_factory=dict)
    strict: bool = False


HolderOf = Callable[[str, int], str]
"""Who has a port (by its name in the spec and its number), "" when it is free."""


def grant(wish: Wish, holder_of: HolderOf) -> dict[str, Grant]:
    """A port for each that is asked for or has a range; those that are asked for come first.

    Raises TerminalError: `PortTaken` when strict, `PortsExhausted` when a range is used up.
    """
    given: dict[str, Grant] = {}

    def holder(name: str, port: int) -> str:
        own = next((other for other, one in given.items() if one.given == port and {name, other} <= {*HOST_PORTS}), "")
        return f"the {own} of the same cluster" if own else holder_of(name, port)

    for name in sorted(PORTS, key=lambda name: name not in wish.asked):
        if name in wish.asked or name in wish.ranges:
            given[name] = _granted(name, wish, holder)
    return given


def columns_of(given: Mapping[str, Grant]) -> dict[str, Any]:
    """Grants as they are kept: asked and given by name."""
    return {name: [one.asked, one.given] for name, one in given.items()}


def grants_of(kept: Mapping[str, Any]) -> dict[str, Grant]:
    """`columns_of`, the other way round."""
    return {name: Grant(asked, given) for name, (asked, given) in kept.items()}


def notes(given: Mapping[str, Grant]) -> Iterator[str]:
    """What people should know: each port that is not the one that was asked for."""
    for name, one in given.items():
        if one.is_another:
            why = f"is held by {one.why}" if one.why else "was taken"
            yield f"{name} {one.asked} {why}: it gets {one.given}"


def ranges_of(settings: Mapping[str, Any]) -> dict[str, range]:
    """From which range each host port is given. settings: the kind's. Raises UsageError naming the key."""
    written = {**_DEFAULTS, **settings.get("ports", {})}
    return {name: _range(key, str(written[key])) for name, key in _SETTINGS.items()}


def _range(key: str, text: str) -> range:
    match = _RANGE.fullmatch(text)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1024 <= first <= last <= 65535:
        expected = f"expected two ports from 1024 to 65535 such as {_DEFAULTS[key]}"
        raise UsageError("BadSetting", f"kinds.Cluster.ports.{key}: {expected}, got {text[:80]!r}")
    return range(first, last + 1)


def _granted(name: str, wish: Wish, holder: HolderOf) -> Grant:
    asked, before = wish.asked.get(name), wish.held.get(name)
    if before is not None and asked in (None, before.asked) and not holder(name, before.given):
        return Grant(asked, before.given)
    why = holder(name, asked) if asked is not None else ""
    if asked is not None and not why:
        return Grant(asked, asked)
    if asked is not None and wish.strict:
        raise TerminalError("PortTaken", f"{name} {asked} is held by {why}, and ports.strict allows no other")
    candidates = NODE_PORTS if name == NODE_PORT else wish.ranges.get(name, ranges_of({})[name])
    for candidate in _from(candidates, asked):
        if not holder(name, candidate):
            return Grant(asked, candidate, why)
    raise TerminalError("PortsExhausted", _exhausted(name, candidates))


def _from(candidates: range, asked: int | None) -> Iterator[int]:
    """The range from the port that was asked for on, then its beginning; all of it where that lies outside."""
    start = asked if asked is not None and asked in candidates else candidates.start
    yield from range(start, candidates.stop)
    yield from range(candidates.start, start)


def _exhausted(name: str, candidates: range) -> str:
    setting = f" (setting kinds.Cluster.ports.{_SETTINGS[name]})" if name in _SETTINGS else ""
    return f"no {name} is left: every port of {candidates.start}-{candidates.stop - 1} is taken{setting}"
