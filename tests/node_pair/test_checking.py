"""What is looked at before an upgrade: facts of a node, its version, whether it serves, and which version is later."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_faults import no_sudo, set_clock
from pair_ground import Ground

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.nodes.checking import compare_versions, facts_of, serves, version_of
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import Command, NodePairSpec, NodeSpec
from reconciler.model.resource import Resource, ResourceRef
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh

ASCENDING = (
    *("0.9", "1.0.dev1", "1.0-alpha", "1.0a2", "1.0-beta.2", "1.0-beta.11", "1.0b12", "1.0-feature", "1.0~pre1"),
    *(
        "1.0-rc.2",
        "1.0rc3",
        "1.0",
        "1.0a",
        "1.0p1",
        "1.0-1",
        "1.0-2",
        "1.0-10",
        "1.0.1",
        "1.0.10",
        "1.2",
        "2.0~~",
        "2.0~",
    ),
    *("2.0", "2.0+fix", "2.0.0.1", "10.0", "2026.11", "1:0.1"),
)
ALIKE = (("2.0", "2.0.0"), ("v2.0", "2"), ("2.0-final", "2.0"), ("1.0-RC1", "1.0-rc1"), ("007", "7"), ("0:1.0", "1.0"))
versions = st.one_of(
    st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._+~:-]{0,20}\Z"),
    st.from_regex(r"\A\d{1,2}(\.\d{1,2}){0,3}([-.~+]?(a|b|rc|dev|beta|p|post|x)\d?)?\Z"),
)


@dataclass
class LocalNode(Node):
    """A node whose commands run here."""

    def run(self, script: str | Sequence[str], **how: Any) -> Completed:
        words = self._command(script, how.get("env") or {})
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        return Completed(tuple(words), done.returncode, done.stdout, done.stderr, 0.0)


@pytest.fixture
def local() -> Node:
    spec = spec_of().nodes["master"]
    return LocalNode(spec, Ssh(spec.place))


@pytest.fixture
def machine(ground: Ground) -> Iterator[Node]:
    ground.reset()
    with Ssh(ground.place("master")) as ssh:
        yield Node(NodeSpec("master", ssh.place), ssh)


def spec_of(**changes: Any) -> NodePairSpec:
    spec = {
        "master": {"address": "127.0.0.1"},
        "backup": {"address": "127.0.0.2"},
        "version": "2.0",
        "commands": {"version": "echo 1.0"},
        **changes,
    }
    return NodePairSpec.of(Resource(ResourceRef("NodePair", "web"), spec))


def test_facts_of_a_node_come_in_one_round_trip(machine: Node, ground: Ground) -> None:
    calls: list[float] = []
    run = machine.ssh.run
    machine.ssh.run = lambda *words, **how: calls.append(1) or run(*words, **how)  # type: ignore[method-assign,func-returns-value]
    spec = spec_of(
        artifact={"source": "x", "destination": "/opt/new folder/'deep'/x.bin", "sha256": "0" * 64},
        configuration={"paths": ["/etc/x"], "backupDirectory": "/srv/backups"},
        rsync={"sync": {"module": "data", "paths": {".": "/srv"}}},
    )
    facts = facts_of(machine, spec)
    assert len(calls) == 1
    assert facts.boot_id == ground.said("master", "cat /proc/sys/kernel/random/boot_id")
    assert (facts.is_root, facts.has_systemd, facts.missing_tools) == (True, True, ())
    assert abs(facts.clock_skew) < 5, "it is the same clock"
    assert set(facts.free_mb) == {"/opt/new folder/'deep'/x.bin", "/srv/backups"}
    blocks, size = ground.said("master", "stat -f -c '%a %S' /srv").split()
    assert facts.free_mb["/srv/backups"] == pytest.approx(int(blocks) * int(size) / 1e6, rel=0.2)


def test_a_wrong_clock_missing_tools_and_a_full_disk_are_seen(machine: Node, ground: Ground) -> None:
    set_clock(ground, "master", -3600)
    ground.said("master", "mkdir /srv/small && mount -t tmpfs -o size=3m tmpfs /srv/small && touch /srv/nothing")
    ground.said("master", "for one in flock chattr; do mount --bind /srv/nothing /usr/bin/$one; done")
    spec = spec_of(configuration={"paths": ["/etc/x"], "backupDirectory": "/srv/small/a/b"})
    try:
        facts = facts_of(machine, spec)
        unlocked = facts_of(machine, spec_of(configuration={"paths": ["/etc/x"], "lock": "none"}))
    finally:
        ground.said("master", "umount /srv/small /usr/bin/flock /usr/bin/chattr")
    assert facts.clock_skew == pytest.approx(-3600, abs=5)
    assert facts.free_mb == {"/srv/small/a/b": 3}
    assert (facts.missing_tools, unlocked.missing_tools) == (("flock", "chattr"), ("flock",))


def test_who_is_not_root_and_who_may_not_become_it(ground: Ground) -> None:
    ground.reset()
    place = replace(ground.place("master"), user="operator")
    with Ssh(place) as ssh:
        plain, by_sudo = Node(NodeSpec("master", place), ssh), Node(NodeSpec("master", place, "sudo"), ssh)
        assert [facts_of(node, spec_of()).is_root for node in (plain, by_sudo)] == [False, True]
        refused = "sudo without a password is refused"
        with no_sudo(ground, "master"), pytest.raises(TerminalError, match=refused) as caught:
            facts_of(by_sudo, spec_of())
    assert caught.value.reason == "NoSudo"


@pytest.mark.parametrize(
    ("command", "version"),
    [
        ("printf '  2.0.1 \\n\\n'", "2.0.1"),
        ("printf '%s' \"$ROLE-$PEER-$VERSION\"", "master-127.0.0.2-2.0"),
        (["version=3", "echo 3"], "3"),
    ],
)
def test_the_version_is_one_line(local: Node, command: Any, version: str) -> None:
    assert version_of(local, spec_of(commands={"version": command})) == version


@pytest.mark.parametrize(
    "command",
    ["true", "echo", "printf '1\\n2\\n'", f"echo {'1' * 101}", "echo 1.0; exit 3", "printf '1.0\\033[31m'", "nothing"],
)
def test_what_is_no_version_is_an_error_that_quotes_it(local: Node, command: str) -> None:
    with pytest.raises(TerminalError, match=r"^master \(127\.0\.0\.1\): commands\.version tells no version") as caught:
        version_of(local, spec_of(commands={"version": command}))
    assert caught.value.reason == "NoVersion"


def test_a_node_serves_does_not_or_nobody_knows(local: Node) -> None:
    assert serves(local, spec_of(serving="true")) is True
    assert serves(local, spec_of(serving='test "$VERSION" = 2.0')) is True
    assert serves(local, spec_of(serving='test "$VERSION" = 2.0'), "1.0") is False
    for odd in ("exit 2", "kill -9 $$", "nothing"):
        with pytest.raises(TerminalError) as caught:
            serves(local, spec_of(serving=odd))
        assert caught.value.reason == "ServingUnknown"
    with pytest.raises(TerminalError):
        serves(local, replace(spec_of(), serving=None))
    assert isinstance(spec_of(serving="true").serving, Command)


def test_later_versions_are_later() -> None:
    for at, early in enumerate(ASCENDING):
        for late in ASCENDING[at + 1 :]:
            assert compare_versions(early, late) < 0 < compare_versions(late, early), (early, late)
    assert [compare_versions(*pair) for pair in ALIKE] == [0] * len(ALIKE)


@given(versions, versions, versions)
def test_versions_are_in_one_order(a: str, b: str, c: str) -> None:
    assert compare_versions(a, a) == 0
    assert compare_versions(a, b) == -compare_versions(b, a)
    if compare_versions(a, b) <= 0 and compare_versions(b, c) <= 0:
        assert compare_versions(a, c) <= 0
    if compare_versions(a, b) == 0:
        assert compare_versions(a, c) == compare_versions(b, c)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_dotted_numbers_compare_as_numbers(a: list[int], b: list[int]) -> None:
    longest = max(len(a), len(b))
    first, second = ((*one, *[0] * (longest - len(one))) for one in (a, b))
    expected = (first > second) - (first < second)
    assert compare_versions(".".join(map(str, a)), ".".join(map(str, b))) == expected
    assert compare_versions(".".join(map(str, a)) + "-rc1", ".".join(map(str, a))) < 0
