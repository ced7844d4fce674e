"""Ports and names of clusters whose nodes are containers: given once, to one, and given back."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.daemon.lab import until

PROVIDERS = pytest.mark.parametrize("provider", ["k3d", "kind"])
CREATE = {"k3d": ("k3d", "cluster", "create"), "kind": ("kind", "create", "cluster")}
HOST_COLUMNS = ("pf_port", "http_port", "https_port")
RANGES = {"pf_port": range(19001, 20000), "http_port": range(18090, 19000), "https_port": range(18443, 19000)}
BLOCKED, HELD = 7, 5


def narrow(docker: DockerLab, **ranges: str) -> None:
    """Give ports from these ranges only."""
    docker.configure(kinds={"Cluster": {"ports": ranges}})


def ports(docker: DockerLab, name: str) -> tuple[Any, ...]:
    row = docker.row(name)
    assert row is not None
    return tuple(row[column] for column in HOST_COLUMNS)


def mapped(docker: DockerLab, name: str) -> set[int]:
    """The host ports in the command that created a cluster of k3d."""
    (command,) = docker.commands("k3d", "cluster", "create", name)
    return {int(port) for port in re.findall(r"--port (\d+):", command)}


@contextmanager
def listening(port: int = 0) -> Iterator[int]:
    """Another program that has a port."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen(1)
        yield listener.getsockname()[1]


@PROVIDERS
def test_row_0_06_no_row_no_flags(docker: DockerLab, provider: str) -> None:
    docker.ok("create", "cluster", "dev", "--provider", provider)
    row = docker.row("dev")
    assert row is not None
    assert all(row[column] in allowed for column, allowed in RANGES.items())
    assert row["actual_state"] == "running"
    assert row["node_port"] is None, "what nobody asked for is not recorded"
    assert docker.plan() == {}


def test_what_was_given_is_what_the_tool_is_told(docker: DockerLab) -> None:
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply()
    _, http, https = ports(docker, "dev")
    assert mapped(docker, "dev") == {http, https}
    assert docker.plan() == {}


def test_k16_k17_what_is_asked_for_is_used_whatever_it_is(docker: DockerLab) -> None:
    """Outside the ranges as well; and 30080 is a port like any other."""
    asked = {"httpPort": 23800, "httpsPort": 23843, "pfPort": 29000, "nodePort": 30080}
    docker.write("dev.yaml", docker_cluster("dev", "k3d", ports=asked))
    docker.apply()
    assert ports(docker, "dev") == (29000, 23800, 23843)
    assert (docker.row("dev") or {})["node_port"] == 30080
    assert mapped(docker, "dev") == {23800, 23843}


def test_row_0_11_a_port_of_another_row_is_not_given(docker: DockerLab) -> None:
    """A row that somebody wrote by SQL holds its ports, in whatever column they stand."""
    docker.ok("get")
    docker.write_sql(
        "INSERT INTO clusters (name, provider, http_port, desired_by) VALUES ('a', 'k3d', 23090, 'document')"
    )
    docker.write("b.yaml", docker_cluster("b", "k3d", ports={"httpPort": 23090}))
    docker.write("c.yaml", docker_cluster("c", "k3d", ports={"httpsPort": 23090, "strict": True}))
    text = docker.run("plan", docker.specs).text
    assert re.search(r"httpPort 23090 is held by Cluster/a: it gets \d+", text)
    assert "httpsPort 23090 is held by Cluster/a, and ports.strict allows no other" in text
    docker.apply(code=3)
    given = ports(docker, "b")[1]
    assert given in RANGES["http_port"]
    assert given in mapped(docker, "b")
    assert docker.row("c") is None, "nothing is left of one that may not have what it asked for"
    assert docker.commands("k3d", "cluster", "create", "c") == []
    assert f"httpPort 23090 is held by Cluster/a: it gets {given}" in docker.ok("logs", "Cluster/b")
    assert f"httpPort: {given} (23090 was taken)" in docker.ok("describe", "Cluster/b")
    (docker.specs / "c.yaml").unlink()
    assert "Cluster/b" not in docker.plan()


def test_two_new_clusters_that_ask_for_one_port_are_told_by_the_plan(docker: DockerLab) -> None:
    """And told rightly: one of them has it, the other one the next free one."""
    documents = [docker_cluster(name, provider, ports={"httpPort": 23090}) for name, provider in CLAIMANTS]
    docker.write("all.yaml", *documents)
    box = docker.write("box.yaml", docker_cluster("box", "sandbox", ports={"httpPort": 23090}))
    told = {ref: change["why"] for ref, change in docker.plan().items()}
    said = "of this plan also asks for port 23090 of this host: whichever is made later gets the next free one"
    assert told["Cluster/a"].endswith(f"Cluster/b {said}")
    assert told["Cluster/b"].endswith(f"Cluster/a {said}")
    assert "23090" not in told["Cluster/box"], "a sandbox maps no port of this host"
    box.unlink()
    docker.apply()
    (given,) = {ports(docker, name)[1] for name, _ in CLAIMANTS} - {23090}
    assert given in RANGES["http_port"]


CLAIMANTS = (("a", "k3d"), ("b", "kind"))


def test_a_port_of_another_program_is_not_given(docker: DockerLab) -> None:
    with listening() as port:
        docker.write("dev.yaml", docker_cluster("dev", "k3d", ports={"httpPort": port}))
        assert f"httpPort {port} is held by another program on this host" in docker.run("plan", docker.specs).text
        docker.apply()
        given = ports(docker, "dev")[1]
        assert given != port
        assert docker.plan() == {}
    assert docker.plan() == {}, "that it is free by now moves no cluster"
    assert ports(docker, "dev")[1] == given


def test_row_0_12_port_allocation_atomic(docker: DockerLab) -> None:
    """Twenty processes at once, each with a cluster of its own, none of which names a port."""
    docker.ok("get")
    names = [f"c{number:02}" for number in range(20)]
    commands = [docker.start("create", "cluster", name, "--provider", "k3d") for name in names]
    codes = [command.wait(240) for command in commands]
    assert codes == [0] * 20, [command.err() for command in commands if command.wait() != 0]
    rows = docker.rows("SELECT * FROM clusters")
    assert [row["name"] for row in sorted(rows, key=lambda row: row["name"])] == names
    for column, allowed in RANGES.items():
        given = [row[column] for row in rows]
        assert len(set(given)) == 20, column
        assert set(given) <= set(allowed), column
    every = [row[column] for row in rows for column in HOST_COLUMNS]
    assert len(set(every)) == 60, "and none of one kind is one of another"
    assert docker.plan() == {}


def test_row_0_13_requested_port_busy(docker: DockerLab) -> None:
    """Two processes at once ask for the same port: both are made, one with another port, and that is said."""
    docker.ok("get")
    asked = ("--provider", "k3d", "--set", "ports.httpPort=23090")
    commands = [docker.start("create", "cluster", name, *asked) for name in ("one", "two")]
    assert [command.wait(120) for command in commands] == [0, 0], [command.err() for command in commands]
    given = {name: ports(docker, name)[1] for name in ("one", "two")}
    first = next(name for name, port in given.items() if port == 23090)
    second = "two" if first == "one" else "one"
    assert given[second] in RANGES["http_port"]
    assert f"httpPort 23090 is held by Cluster/{first}: it gets {given[second]}" in docker.ok(
        "logs", f"Cluster/{second}"
    )
    assert "it gets" not in docker.ok("logs", f"Cluster/{first}")
    assert docker.plan() == {}


def test_row_0_14_allocation_exhausted(docker: DockerLab) -> None:
    with listening() as port:
        pass
    narrow(docker, http=f"{port}-{port}")
    docker.ok("create", "cluster", "one", "--provider", "k3d")
    docker.forget_log()
    done = docker.run("create", "cluster", "two", "--provider", "k3d")
    assert done.code != 0
    assert f"no httpPort is left: every port of {port}-{port} is taken (setting kinds.Cluster.ports.http)" in done.text
    assert docker.row("two") is None
    assert docker.changing() == []
    assert docker.made_names() == ["one"]
    docker.ok("delete", "Cluster/one", "--yes")
    docker.write("three.yaml", docker_cluster("three", "k3d"))
    docker.apply("--limit", "Cluster/three")
    assert ports(docker, "three")[1] == port, "its port went with the record"


def test_row_0_15_one_create_per_name_in_the_log(docker: DockerLab) -> None:
    """Ten processes create the same name at once: one `create` in the log, and the others say who has it."""
    docker.ok("get")
    commands = [docker.start("create", "cluster", "x", "--provider", "k3d") for _ in range(10)]
    codes = [command.wait(120) for command in commands]
    assert sorted(codes) == [0] + [BLOCKED] * 9, [command.err() for command in commands]
    assert len(docker.commands("k3d", "cluster", "create", "x")) == 1
    for command, code in zip(commands, codes, strict=True):
        if code == BLOCKED:
            assert "Cluster/x exists already" in command.err()
    assert not docker.rows("SELECT * FROM leases WHERE name = 'Cluster/x' AND owner != ''")
    assert len(docker.rows("SELECT * FROM clusters")) == 1


def test_row_0_15_ten_applies_of_one_file(docker: DockerLab) -> None:
    docker.write("x.yaml", docker_cluster("x", "kind"))
    docker.ok("get")
    commands = [docker.start("apply", docker.specs, "--yes") for _ in range(10)]
    codes = [command.wait(120) for command in commands]
    assert 0 in codes
    assert set(codes) <= {0, HELD}, [command.err() for command in commands]
    assert len(docker.commands("kind", "create", "cluster")) == 1
    for command, code in zip(commands, codes, strict=True):
        if code == HELD:
            assert re.search(r"Cluster/x is held by \S+@\S+ \(apply, pid \d+\) since", command.out() + command.err())


def test_row_0_34_three_at_once(docker: DockerLab) -> None:
    docker.ok("get")
    names = ("dev", "prod", "uat")
    commands = [docker.start("create", "cluster", name, "--provider", "k3d") for name in names]
    assert [command.wait(120) for command in commands] == [0, 0, 0], [command.err() for command in commands]
    assert tuple(docker.made_names()) == names
    assert len({port for name in names for port in ports(docker, name)}) == 9
    assert all(docker.state(name) == "running" for name in names)


@PROVIDERS
def test_after_a_kill_a_cluster_keeps_the_ports_it_was_given(docker: DockerLab, provider: str) -> None:
    docker.behave("half." + "-".join(CREATE[provider]), "hang")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    command = docker.start("apply", docker.specs, "--yes")
    until(lambda: docker.made_names() == ["dev"], command.err)
    given = ports(docker, "dev")
    command.kill()
    docker.recover()
    docker.apply()
    assert (ports(docker, "dev"), docker.state("dev"), docker.plan()) == (given, "running", {})


def test_after_a_failure_a_port_that_was_taken_meanwhile_is_left_alone(docker: DockerLab) -> None:
    docker.behave("fail.k3d-cluster-create", "no")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply(code=1)
    given = ports(docker, "dev")[1]
    docker.recover()
    with listening(given):
        docker.apply()
    assert ports(docker, "dev")[1] != given
    assert docker.state("dev") == "running"


def test_a_sandbox_records_what_it_is_asked(docker: DockerLab) -> None:
    """It maps no port of the host, so it needs none, and takes none from anybody."""
    with listening() as port:
        docker.ok("create", "cluster", "box", "--set", f"ports.httpPort={port}")
    assert ports(docker, "box") == (None, port, None)
    docker.ok("create", "cluster", "other")
    assert ports(docker, "other") == (None, None, None)


def test_a_wrong_range_in_the_settings_is_named(docker: DockerLab) -> None:
    narrow(docker, pf="19999-19001")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    done = docker.run("apply", docker.specs, "--yes")
    assert done.code != 0
    assert "kinds.Cluster.ports.pf: expected two ports from 1024 to 65535 such as 19001-19999" in done.text
    assert docker.row("dev") is None
    assert docker.changing() == []
