"""Which port a cluster gets: what it asked for, what it had, or the next free one; never one that somebody has."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import TerminalError, UsageError
from reconciler.kinds import discover
from reconciler.kinds.cluster.container_steps import ADDRESS_INTERVAL, ADDRESS_TIMEOUT
from reconciler.kinds.cluster.envtest.control_plane import STOP_TIMEOUT
from reconciler.kinds.cluster.host_ports import is_free
from reconciler.kinds.cluster.ports import HOST_PORTS, Grant, Wish, columns_of, grant, grants_of, notes, ranges_of
from reconciler.model.duration import parse_duration

RANGES = ranges_of({})
SMALL = {"pfPort": range(2000, 2004), "httpPort": range(3000, 3004), "httpsPort": range(3002, 3006)}


def held_by(taken: dict[int, str]) -> Any:
    return lambda _name, port: taken.get(port, "")


def given_ports(wish: Wish, taken: dict[int, str] | None = None) -> dict[str, int]:
    return {name: one.given for name, one in grant(wish, held_by(taken or {})).items()}


def test_the_defaults_that_the_settings_tell_are_those_of_the_code() -> None:
    schema = discover().packages["Cluster"].settings
    assert schema is not None
    told = {name: member.get("default") for name, member in schema["properties"].items()}
    ranges = {name: member["default"] for name, member in schema["properties"]["ports"]["properties"].items()}
    assert ranges_of({"ports": ranges}) == RANGES
    assert parse_duration(told["addressTimeout"]) == ADDRESS_TIMEOUT
    assert parse_duration(told["addressInterval"]) == ADDRESS_INTERVAL
    assert parse_duration(schema["properties"]["envtest"]["properties"]["stopTimeout"]["default"]) == STOP_TIMEOUT


def test_what_is_not_asked_for_comes_from_its_range() -> None:
    assert given_ports(Wish({}, ranges=RANGES)) == {"pfPort": 19001, "httpPort": 18090, "httpsPort": 18443}


def test_what_is_asked_for_is_given_also_outside_the_range() -> None:
    asked = {"httpPort": 23800, "httpsPort": 23843, "pfPort": 19000, "nodePort": 30800}
    assert given_ports(Wish(asked, ranges=RANGES)) == asked


def test_a_node_port_is_given_only_where_it_is_asked_for() -> None:
    assert "nodePort" not in given_ports(Wish({"httpPort": 18090}, ranges=RANGES))


TAKEN: dict[str, tuple[int, dict[int, str], int]] = {
    "the next one": (3001, {3001: "a"}, 3002),
    "the next but one": (3001, {3001: "a", 3002: "b"}, 3003),
    "the range goes round": (3003, {3003: "a", 3000: "b"}, 3001),
    "from outside, the first of the range": (5000, {5000: "a"}, 3000),
}


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN.keys())
def test_a_port_that_is_taken_gets_the_next_free_one(case: tuple[int, dict[int, str], int]) -> None:
    asked, taken, expected = case
    found = grant(Wish({"httpPort": asked}, ranges={"httpPort": SMALL["httpPort"]}), held_by(taken))
    assert found["httpPort"] == Grant(asked, expected, "a")
    assert list(notes(found)) == [f"httpPort {asked} is held by a: it gets {expected}"]


def test_a_taken_node_port_gets_the_next_free_one() -> None:
    assert given_ports(Wish({"nodePort": 32767}), {32767: "a"}) == {"nodePort": 30000}


def test_strict_takes_no_other() -> None:
    with pytest.raises(TerminalError, match=r"httpPort 3001 is held by a, and ports\.strict") as caught:
        grant(Wish({"httpPort": 3001}, ranges=SMALL, strict=True), held_by({3001: "a"}))
    assert caught.value.reason == "PortTaken"


def test_a_range_that_is_used_up_is_an_error_that_names_the_setting() -> None:
    message = r"no pfPort is left: every port of 2000-2000 is taken \(setting kinds\.Cluster\.ports\.pf\)"
    with pytest.raises(TerminalError, match=message) as caught:
        grant(Wish({}, ranges={"pfPort": range(2000, 2001)}), held_by({2000: "a"}))
    assert caught.value.reason == "PortsExhausted"


def test_one_cluster_has_no_port_twice_and_what_is_asked_for_comes_first() -> None:
    assert given_ports(Wish({"httpsPort": 3000}, ranges=SMALL)) == {"httpsPort": 3000, "pfPort": 2000, "httpPort": 3001}
    found = grant(Wish({"httpPort": 3000, "httpsPort": 3000}, ranges=SMALL), held_by({}))
    assert found["httpsPort"].given != found["httpPort"].given
    assert "the httpPort of the same cluster" in found["httpsPort"].why
    assert given_ports(Wish({"nodePort": 30080, "httpPort": 30080})) == {"nodePort": 30080, "httpPort": 30080}


KEPT: dict[str, tuple[Grant, dict[str, int], dict[int, str], int]] = {
    "what was allocated": (Grant(None, 3002), {}, {}, 3002),
    "what was given for the same wish": (Grant(3000, 3002), {"httpPort": 3000}, {}, 3002),
    "what was asked for and is no longer": (Grant(3000, 3002), {}, {}, 3002),
    "not what is taken by now": (Grant(None, 3002), {}, {3002: "a"}, 3000),
    "not for another wish": (Grant(3000, 3002), {"httpPort": 3001}, {}, 3001),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_what_a_cluster_has_it_keeps(case: tuple[Grant, dict[str, int], dict[int, str], int]) -> None:
    held, asked, taken, expected = case
    wish = Wish(asked, held={"httpPort": held}, ranges={"httpPort": SMALL["httpPort"]})
    assert given_ports(wish, taken) == {"httpPort": expected}


def test_grants_are_kept_as_plain_data() -> None:
    found = {"httpPort": Grant(18090, 18091), "pfPort": Grant(None, 19001)}
    assert grants_of(columns_of(found)) == found


@given(
    asked=st.dictionaries(st.sampled_from(HOST_PORTS), st.integers(2000, 3010)),
    taken=st.sets(st.integers(2000, 3010), max_size=3),
)
def test_no_host_port_is_ever_given_that_somebody_has(asked: dict[str, int], taken: set[int]) -> None:
    wide = {"pfPort": range(2000, 2010), "httpPort": range(3000, 3010), "httpsPort": range(3002, 3012)}
    found = given_ports(Wish(asked, ranges=wide), dict.fromkeys(taken, "a"))
    assert found.keys() == set(HOST_PORTS)
    assert len(set(found.values())) == len(HOST_PORTS)
    assert not taken & set(found.values())


def test_the_ranges_are_settings() -> None:
    found = ranges_of({"ports": {"http": "20000-20001"}})
    assert found == {**RANGES, "httpPort": range(20000, 20002)}


@pytest.mark.parametrize("text", ["18090", "18090-", "80-90", "19000-18000", "18090-65536", "a-b", "18090-18099 "])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"kinds\.Cluster\.ports\.http: expected two ports"):
        ranges_of({"ports": {"http": text}})


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
def test_a_port_that_somebody_listens_on_is_not_free(address: str) -> None:
    with closing(socket.socket()) as listener:
        listener.bind((address, 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_looking_whether_a_port_is_free_is_in_nobodys_way() -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("0.0.0.0", 0))
        assert is_free(probe.getsockname()[1]), "another process that looks at this very moment"
