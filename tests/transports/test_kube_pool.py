"""Kept connections: when they are used again, when the kubeconfig is read again, and that none is left open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tls_api import Api

from reconciler.errors import TerminalError
from reconciler.transports.kube_pool import MAX_AGE, MAX_IDLE, KubePool
from reconciler.transports.kubeconfig import KubeconfigPolicy

POLICY = KubeconfigPolicy()


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock, api: Api) -> Iterator[KubePool]:
    made = KubePool(clock)
    api.replies["GET /version"] = (200, {"gitVersion": "v1.31.5"})
    yield made
    made.close()


def ask(pool: KubePool, path: Path) -> None:
    with pool.lend(path, "", POLICY) as kube:
        assert kube.version() == "1.31.5"


def test_borrowers_use_one_connection_after_each_other(api: Api, pool: KubePool, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path)
    for _ in range(5):
        ask(pool, path)
    assert len(api.connections) == 1


def test_borrowers_beside_each_other_disturb_nobody(api: Api, pool: KubePool, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path)
    threads = [threading.Thread(target=lambda: [ask(pool, path) for _ in range(5)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.seen) == 30
    assert len(api.connections) <= 6


@pytest.mark.parametrize("seconds", [MAX_IDLE + 1, MAX_AGE + 1])
def test_what_was_not_used_for_long_is_closed_and_made_anew(
    api: Api, pool: KubePool, tmp_path: Path, clock: Clock, seconds: float
) -> None:
    path = api.kubeconfig(tmp_path)
    ask(pool, path)
    clock.now += seconds
    ask(pool, path)
    assert len(api.connections) == 2


def test_credentials_are_read_again_after_a_while_also_when_they_are_used_all_the_time(
    api: Api, pool: KubePool, tmp_path: Path, clock: Clock
) -> None:
    path = api.kubeconfig(tmp_path)
    until = clock.now + MAX_AGE + 10
    while clock.now < until:
        ask(pool, path)
        clock.now += 5
    assert len(api.connections) == 2


def test_a_kubeconfig_that_was_written_is_read_again(api: Api, pool: KubePool, tmp_path: Path) -> None:
    """Also while somebody has borrowed what it said before."""
    path = api.kubeconfig(tmp_path)
    with pool.lend(path, "", POLICY) as before:
        assert before.version()
        api.kubeconfig(tmp_path, token="another-token")
        with pool.lend(path, "", POLICY) as after, pytest.raises(TerminalError, match="not accepted"):
            after.version()
        assert before.version()
    path.unlink()
    with pytest.raises(TerminalError, match="there is no kubeconfig"):
        pool.lend(path, "", POLICY)


def test_another_policy_is_asked_anew(api: Api, pool: KubePool, tmp_path: Path) -> None:
    path = api.kubeconfig(tmp_path)
    ask(pool, path)
    with pool.lend(path, "", KubeconfigPolicy(allow_proxy=True)) as kube:
        kube.version()
    assert len(api.connections) == 2


def test_what_is_given_back_to_a_closed_pool_is_closed(api: Api, tmp_path: Path) -> None:
    """The fixture of every test fails this one for an open descriptor."""
    api.replies["GET /version"] = (200, {"gitVersion": "v1.31.5"})
    pool = KubePool()
    borrowed = pool.lend(api.kubeconfig(tmp_path), "", POLICY)
    borrowed.version()
    pool.close()
    borrowed.version()
    borrowed.close()
    borrowed.close()
    ask(pool, api.kubeconfig(tmp_path))
