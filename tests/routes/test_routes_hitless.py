"""No request is lost while routes come and go: clients that loop, a real HAProxy, real reloads."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reconciler.kinds.cluster.haproxy.installing import install
from reconciler.kinds.cluster.haproxy.routes import Route
from tests.routes.haproxy_lab import BASE_DOMAIN, BareContext, HaproxyLab, needs_haproxy

pytestmark = needs_haproxy
CLIENTS = 2


class Clients:
    """Clients that ask one after the other, each over a connection of its own, and count what they get."""

    def __init__(self, haproxy: HaproxyLab, name: str) -> None:
        self._haproxy = haproxy
        self._host, self._expected = f"whoami.{name}.{BASE_DOMAIN}", (200, f"Hostname: {name}\n")
        self._ended = threading.Event()
        self.served = 0
        self.failures: Counter[str] = Counter()

    def ask(self) -> None:
        """Until it is over."""
        while not self._ended.is_set():
            try:
                answer = self._haproxy.get(self._host)
            except (OSError, http.client.HTTPException) as error:
                self.failures[repr(error)] += 1
                continue
            if answer == self._expected:
                self.served += 1
            else:
                self.failures[repr(answer)] += 1

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Several at once, inside."""
        threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()


def cycles(haproxy: HaproxyLab, behind: dict[str, int], count: int) -> Clients:
    """Routes of others are added and removed while one is asked; each is there at once, and gone at once."""
    context: Any = BareContext()
    gateway, plain = haproxy.gateway(), haproxy.text

    def add(name: str) -> None:
        route = Route(name, f"{name}.{BASE_DOMAIN}", f"127.0.0.1:{behind[name]}")
        install(gateway, context, lambda before: before.with_route(route), lambda _: False, lambda: None)

    def remove(name: str) -> None:
        install(gateway, context, lambda before: before.without([name]), lambda _: False, lambda: None)

    add("dev")
    clients = Clients(haproxy, "dev")
    with clients.asking():
        for number in range(count):
            name = ("uat", "prod")[number % 2]
            add(name)
            assert haproxy.get(f"whoami.{name}.{BASE_DOMAIN}") == (200, f"Hostname: {name}\n")
            remove(name)
            assert haproxy.get(f"whoami.{name}.{BASE_DOMAIN}")[0] == 404
    remove("dev")
    assert haproxy.text == plain
    return clients


def test_defect_k21_no_request_fails_while_routes_come_and_go(haproxy: HaproxyLab, behind: dict[str, int]) -> None:
    clients = cycles(haproxy, behind, 5)
    assert clients.failures == {}
    assert clients.served > 50


@pytest.mark.soak
def test_no_request_fails_in_a_hundred_cycles(haproxy: HaproxyLab, behind: dict[str, int]) -> None:
    clients = cycles(haproxy, behind, 100)
    print(f"\n100 routes added and removed: {clients.served} requests served, {sum(clients.failures.values())} failed")
    assert clients.failures == {}
    assert clients.served > 1000
