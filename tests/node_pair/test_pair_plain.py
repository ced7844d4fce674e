"""A pair of nodes without systemd and without root's help: folders, with a proxy between us and one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pair import Pair
from pair_faults import Proxy, await_held, fault, heal
from pair_ground import NEW, NEW_TEXT
from pair_invariants import invariants
from pair_serving import ServingClient

from reconciler.kinds.node_pair.spec import ROLES


@pytest.fixture
def proxy(plain_pair: Pair) -> Iterator[Proxy]:
    """On the way to the backup."""
    node = plain_pair.spec["backup"]
    with Proxy(node["address"], node["port"]) as made:
        plain_pair.write(backup={**node, "port": made.port})
        yield made


def test_a_slow_line_that_breaks_only_delays_an_upgrade(plain_pair: Pair, proxy: Proxy) -> None:
    pair = plain_pair
    proxy.delay = 0.005
    pair.want_new(reconnect="60s")
    fault(pair.ground, "backup", "install", "hold", times=1)
    with ServingClient(pair.ground) as client:
        process = pair.start()
        try:
            await_held(pair.ground, "backup", "install")
            proxy.cut()
            heal(pair.ground, "backup", "install")
            await_call(pair, "start")
            proxy.drops = True
            time.sleep(0.5)
            proxy.cut()
            proxy.drops = False
            assert process.wait(180) == 0
        finally:
            process.close()
        assert pair.plan() is None
        assert pair.versions() == dict.fromkeys(ROLES, NEW)
        assert {role: pair.content(role) for role in ROLES} == dict.fromkeys(ROLES, NEW_TEXT)
        invariants(pair, client)


def await_call(pair: Pair, name: str) -> None:
    """Until a call has been made."""
    give_up = time.monotonic() + 60
    while not pair.calls(name):
        assert time.monotonic() < give_up, f"nobody calls {name}"
        time.sleep(0.02)
