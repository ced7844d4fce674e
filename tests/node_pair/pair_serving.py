"""A client of the pair's service that asks both nodes in a loop, and knows how long none of them served.

On machines it asks each node from inside that node's network: a cable which a test cuts is no gap of the pair's.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from pair_ground import Ground

from reconciler.kinds.node_pair.spec import ROLES
from reconciler.lab.network import namespace_of

_PAUSE = 0.04
_IN_A_ROW = 3
"""How many passes over both nodes have to find nobody: between two questions of one pass they may have switched."""
_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Gap:
    """A time during which no node served. at: seconds since the epoch. seen: what each node answered first."""

    at: float
    seconds: float
    seen: str

    def __str__(self) -> str:
        return f"nobody served for {self.seconds:.2f} s at {self.at:.2f}: {self.seen}"


class ServingClient:
    """Asks from its making to its closing. gaps: when nobody served, beyond what tests excused."""

    def __init__(self, ground: Ground) -> None:
        self.gaps: list[Gap] = []
        self.passes = 0
        self._ground = ground
        self._over, self._excused = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="serving-client")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask no more."""
        self._over.set()
        self._thread.join()

    @contextmanager
    def excused(self) -> Iterator[None]:
        """Nobody is expected to serve meanwhile, and until somebody does again: a test takes the serving node away."""
        self._excused.set()
        try:
            yield
        finally:
            self._excused.clear()

    def _loop(self) -> None:
        spaces = self._spaces()
        try:
            failed = 0
            began, seen, is_excused = 0.0, "", False
            while not self._over.is_set():
                answers = {role: self._ask(role, spaces.get(role)) for role in ROLES}
                self.passes += 1
                if any(answer is not None and answer["serves"] for answer in answers.values()):
                    if failed >= _IN_A_ROW and not is_excused:
                        self.gaps.append(Gap(began, time.time() - began, seen))
                    failed, is_excused = 0, False
                else:
                    began, seen = (time.time(), str(answers)) if failed == 0 else (began, seen)
                    failed += 1
                    is_excused = is_excused or self._excused.is_set()
                self._over.wait(_PAUSE)
            if failed >= _IN_A_ROW and not is_excused:
                self.gaps.append(Gap(began, time.time() - began, seen))
        finally:
            for descriptor in spaces.values():
                os.close(descriptor)

    def _spaces(self) -> dict[str, int]:
        """The network of each node, for `setns`, which is the calling thread's alone."""
        if self._ground.variant != "rooted":
            return {}
        lab = self._ground.lab
        return {role: os.open(f"/run/netns/{namespace_of(lab, role)}", os.O_RDONLY) for role in ROLES}

    def _ask(self, role: str, space: int | None) -> dict[str, Any] | None:
        if space is not None and ctypes.CDLL(None, use_errno=True).setns(space, _NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        node = self._ground.lab.node(role)
        try:
            with socket.create_connection((node.address, node.service_port), 2) as connection:
                connection.settimeout(2)
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
            return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
        except (OSError, ValueError):
            return None
