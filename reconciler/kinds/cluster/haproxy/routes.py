"""What stands in the managed regions of an HAProxy file: routes added, removed, compared. Pure; called by `installing`.

A route is one ACL and one use_backend in each frontend, and one backend:

      acl host_NAME  hdr_reg(host) -i ^[^.]+\\.HOST(:[0-9]+)?$
      use_backend be_NAME if host_NAME
    backend be_NAME
      server s1 ADDRESS:PORT check

It takes exactly the hosts SERVICE.HOST. A new one comes directly after the mark that begins its region, so before any
older and less exact one. Names are compared whole. Every line that is not of a route that is asked about stays as it
is, byte for byte, whatever it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from reconciler.errors import TransientError
from reconciler.kinds.cluster.haproxy.regions import Region, damaged, find_regions, is_section, words_of

FRONTENDS = ("fe_http", "fe_https")
NEVER_ROUTED = frozenset({"devops"})
"""Names that no cluster has a route under: the hosts of what manages the others are below it, routed by hand."""
_LONGEST_PATTERN = 300


@dataclass(frozen=True, slots=True)
class Route:
    """name: of the cluster. host: hosts of one more label before it are its. backend: ADDRESS:PORT."""

    name: str
    host: str
    backend: str

    @property
    def pattern(self) -> str:
        """The hosts, as HAProxy matches them. A host is of letters, digits, dashes and dots (see schema.json)."""
        return rf"^[^.]+\.{self.host.replace('.', chr(92) + '.')}(:[0-9]+)?$"

    def lines(self, region: Region) -> list[str]:
        """What stands in a region for it."""
        if region.kind == "ACL":
            return [f"  acl host_{self.name}  hdr_reg(host) -i {self.pattern}"]
        if region.kind == "USE_BACKEND":
            return [f"  use_backend be_{self.name} if host_{self.name}"]
        return [f"backend be_{self.name}", f"  server s1 {self.backend} check"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What stands in a region for one name: the lines from index `first` to index `last`."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """An HAProxy file whose regions were found. lines: without the line feeds between them."""

    path: str
    lines: tuple[str, ...]
    regions: tuple[Region, ...]
    frontends: tuple[str, ...]

    @classmethod
    def parse(cls, content: bytes, path: str, frontends: Sequence[str] = FRONTENDS) -> Configuration:
        """From a file's bytes. Raises TransientError("DamagedFile") naming file and line; path: what to call it."""
        lines = tuple(content.decode("utf-8", "surrogateescape").split("\n"))
        return cls(path, lines, find_regions(lines, path, frontends), tuple(frontends))

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return "\n".join(self.lines).encode("utf-8", "surrogateescape")

    def names(self) -> list[str]:
        """Every name that any region has something for, sorted."""
        return sorted({entry.name for region in self.regions for entry in self._entries(region)})

    def backend_of(self, name: str) -> str:
        """ADDRESS:PORT of the first server of a route's backend; "" for none."""
        for region in self.regions:
            for entry in self._entries(region):
                if region.kind == "BACKENDS" and entry.name == name:
                    servers = (words_of(self.lines[index]) for index in range(entry.first, entry.last + 1))
                    return next((words[2] for words in servers if words[:1] == ["server"] and len(words) > 2), "")
        return ""

    def digest_of(self, name: str) -> str:
        """Of all that stands in the regions for a name; "" for nothing."""
        own = [
            self.lines[index]
            for region in self.regions
            for entry in self._entries(region)
            if entry.name == name
            for index in range(entry.first, entry.last + 1)
        ]
        return sha256("\n".join(own).encode("utf-8", "surrogateescape")).hexdigest() if own else ""

    def fault_of(self, route: Route) -> str:
        """Where the file says something else of a route than it should; "" for nowhere."""
        for region in self.regions:
            entries = [entry for entry in self._entries(region) if entry.name == route.name]
            if not entries:
                return f"{self.path}:{region.begin + 1}: nothing in the region {region}"
            if len(entries) > 1:
                return f"{self.path}:{entries[1].first + 1}: twice in the region {region}"
            (entry,) = entries
            for index, wanted in zip(range(entry.first, entry.last + 1), self._written(region, route), strict=False):
                if self.lines[index] != wanted:
                    return f"{self.path}:{index + 1}: '{self.lines[index].strip()}'"
            if entry.last - entry.first + 1 != len(route.lines(region)):
                return f"{self.path}:{entry.last + 1}: '{self.lines[entry.last].strip()}'"
        return self._shadow(route)

    def with_route(self, route: Route) -> Configuration:
        """With this route as it should be. What an earlier version or the predecessor wrote for the name goes.

        Raises TransientError("NameTaken") or ("HostTaken"), naming the line, where something else is in the way.
        """
        if not self.fault_of(route):
            return self
        self._check_free(route)
        cleared = self.without([route.name])
        lines = list(cleared.lines)
        for region in reversed(cleared.regions):
            lines[region.begin + 1 : region.begin + 1] = cleared._written(region, route)
        return self._with(lines)

    def without(self, names: Collection[str]) -> Configuration:
        """Without the routes of these names."""
        gone: set[int] = set()
        for region in self.regions:
            for entry in self._entries(region):
                if entry.name in names:
                    gone.update(range(entry.first, entry.last + 1))
        return self._with([line for index, line in enumerate(self.lines) if index not in gone]) if gone else self

    def _with(self, lines: Sequence[str]) -> Configuration:
        return Configuration(self.path, tuple(lines), find_regions(lines, self.path, self.frontends), self.frontends)

    def _written(self, region: Region, route: Route) -> list[str]:
        """A route's lines, ended as the file ends its lines."""
        end = "\r" if self.lines[region.begin].endswith("\r") else ""
        return [f"{line}{end}" for line in route.lines(region)]

    def _entries(self, region: Region) -> Iterator[_Entry]:
        """What stands in a region for any name. Comments and empty lines after a backend are not its."""
        if region.kind == "BACKENDS":
            yield from self._backends(region)
            return
        command, prefix = ("acl", "host_") if region.kind == "ACL" else ("use_backend", "be_")
        for index in region.inside:
            words = words_of(self.lines[index])
            if words[:1] == [command] and len(words) > 1 and words[1].startswith(prefix):
                yield _Entry(words[1].removeprefix(prefix), index, index)

    def _backends(self, region: Region) -> Iterator[_Entry]:
        name, first, last = "", 0, 0
        for index in region.inside:
            words = words_of(self.lines[index])
            if is_section(words):
                if name:
                    yield _Entry(name, first, last)
                is_ours = words[0] == "backend" and len(words) > 1 and words[1].startswith("be_")
                name, first = (words[1].removeprefix("be_") if is_ours else ""), index
            if words:
                last = index
        if name:
            yield _Entry(name, first, last)

    def _shadow(self, route: Route) -> str:
        """A line in a region that takes the hosts of a route before it does; "" for none."""
        sample = f"x.{route.host}"
        for frontend in self.frontends:
            takes = set(self._matching(frontend, sample))
            uses = next(one for one in self.regions if (one.kind, one.frontend) == ("USE_BACKEND", frontend))
            for index in uses.inside:
                words = words_of(self.lines[index])
                if words == ["use_backend", f"be_{route.name}", "if", f"host_{route.name}"]:
                    break
                if len(words) == 4 and words[0] == "use_backend" and words[2] == "if" and words[3] in takes:
                    return f"{self.path}:{index + 1}: '{self.lines[index].strip()}' comes first and takes its hosts"
        return ""

    def _matching(self, frontend: str, host: str) -> Iterator[str]:
        """The names of the ACLs in a frontend's region that match a host."""
        acls = next(one for one in self.regions if (one.kind, one.frontend) == ("ACL", frontend))
        for index in acls.inside:
            words = words_of(self.lines[index])
            if len(words) == 5 and words[0] == "acl" and words[2:4] == ["hdr_reg(host)", "-i"]:
                try:
                    if len(words[4]) <= _LONGEST_PATTERN and re.search(words[4], host, re.IGNORECASE):
                        yield words[1]
                except re.error:
                    continue

    def _check_free(self, route: Route) -> None:
        """Nothing that is not ours has the names that a route needs, and no other route its hosts."""
        managed = {index for region in self.regions for index in region.inside}
        frontend = ""
        for index, line in enumerate(self.lines):
            words = words_of(line)
            if is_section(words):
                frontend = words[1] if words[0] == "frontend" and len(words) > 1 else ""
            if index in managed:
                self._check_host(route, index, words)
            elif len(words) > 1 and words[0] in ("backend", "listen", "frontend") and words[1] == f"be_{route.name}":
                raise _taken("NameTaken", self.path, index, f"{words[0]} {words[1]} is not ours, and a route needs it")
            elif frontend in self.frontends and words[:2] == ["acl", f"host_{route.name}"]:
                raise _taken("NameTaken", self.path, index, f"acl {words[1]} is not ours, and a route needs it")

    def _check_host(self, route: Route, index: int, words: Sequence[str]) -> None:
        if len(words) > 2 and words[0] == "acl" and words[1] != f"host_{route.name}" and words[-1] == route.pattern:
            other = words[1].removeprefix("host_")
            raise _taken("HostTaken", self.path, index, f"the hosts of {route.host} are routed to {other} already")


def _taken(reason: str, path: str, index: int, why: str) -> TransientError:
    return TransientError(reason, damaged(path, index, why).message)
