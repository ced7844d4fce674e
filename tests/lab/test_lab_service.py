"""The small service of a lab's nodes: it really listens, is upgraded by its tool, and one of the two serves."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab_nodes import VARIANTS, place_of

from reconciler.lab import labs
from reconciler.lab.record import Lab
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh


class Nodes:
    """Both nodes with their tool. service: folder of the service on a node, as this machine sees it, by node."""

    def __init__(self, home: Path, lab: Lab) -> None:
        self.home, self.lab = home, lab
        rooted = lab.variant == "rooted"
        self.service = {
            one.name: home / "lab" / one.name / ("root/opt/service" if rooted else "service") for one in lab.nodes
        }
        self.commands: dict[str, Any] = yaml.safe_load((home / "lab/pair.yaml").read_text())["spec"]
        self.ssh = {one.name: Ssh(place_of(home, lab, one.name)) for one in lab.nodes}

    def call(self, node: str, name: str, **environ: str) -> Completed:
        """One of the document's commands."""
        given = self.commands["serving"] if name == "serving" else self.commands["commands"][name]
        script = given["run"] if isinstance(given, dict) else given
        return self.ssh[node].run(
            ["env", *(f"{key}={value}" for key, value in environ.items()), "sh", "-c", script], timeout=60
        )

    def ask(self, node: str) -> dict[str, Any] | None:
        """What the service answers; None when it refuses the connection."""
        one = self.lab.node(node)
        try:
            connection = socket.create_connection((one.address, one.service_port), 5)
        except ConnectionRefusedError:
            return None
        with closing(connection):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with connection.makefile("rb") as stream:
                return dict(json.loads(stream.read().partition(b"\r\n\r\n")[2]))

    def log(self, node: str) -> list[dict[str, Any]]:
        """The calls of the tool."""
        return [json.loads(line) for line in (self.service[node] / "calls.jsonl").read_text().splitlines()]

    def close(self) -> None:
        for ssh in self.ssh.values():
            ssh.close()


@pytest.fixture(scope="module", params=VARIANTS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    home = tmp_path_factory.mktemp("lab")
    lab = labs.up(home, request.param)
    made = Nodes(home, lab)
    for node in made.service:  # the connections are the module's, not the first test's
        made.call(node, "serving")
    yield made
    made.close()
    labs.down(home)


def test_it_answers_with_its_version_and_refuses_when_it_is_stopped(nodes: Nodes) -> None:
    for node in ("master", "backup"):
        answer = nodes.ask(node)
        assert answer is not None
        assert (answer["version"], answer["serves"]) == ("1.0.0", node == "master")
        assert nodes.call(node, "version").stdout == "1.0.0\n"
        assert nodes.call(node, "install", VERSION="2.0.0").returncode == 1, "it runs"
        assert nodes.call(node, "stop").returncode == 0
        assert nodes.ask(node) is None
        assert nodes.call(node, "install", VERSION="2.0.0").returncode == 0
        assert nodes.call(node, "verify", VERSION="2.0.0").returncode == 1, "it does not run"
        assert nodes.call(node, "start").returncode == 0
        assert nodes.call(node, "verify", VERSION="2.0.0").returncode == 0
        assert nodes.call(node, "verify", VERSION="1.0.0").returncode == 1
        assert nodes.call(node, "version").stdout == "2.0.0\n"
        assert nodes.call(node, "rollback", VERSION="1.0.0").returncode == 0
        assert (nodes.ask(node) or {})["version"] == "1.0.0"


def test_one_of_the_two_serves_and_the_other_takes_over_by_compare_and_set(nodes: Nodes) -> None:
    assert [nodes.call(node, "serving").returncode for node in ("master", "backup")] == [0, 1]
    assert nodes.call("backup", "switchover", SERVING="backup").returncode == 1, "backup does not serve"
    assert nodes.call("backup", "switchover", SERVING="master").returncode == 0
    assert [nodes.call(node, "serving").returncode for node in ("master", "backup")] == [1, 0]
    assert nodes.call("master", "switchback", SERVING="master").returncode == 1
    nodes.call("master", "stop")
    assert nodes.call("master", "switchback", SERVING="backup").returncode == 1, "it does not run there"
    nodes.call("master", "start")
    assert nodes.call("master", "switchback", SERVING="backup").returncode == 0
    assert [nodes.call(node, "serving").returncode for node in ("master", "backup")] == [0, 1]


def test_a_node_that_missed_who_serves_learns_it(nodes: Nodes) -> None:
    term = int((nodes.ask("master") or {})["term"])
    (nodes.service["backup"] / "claim").write_text(f"{term + 5} backup\n")
    give_up = time.monotonic() + 20
    while (nodes.ask("master") or {})["serves"]:
        assert time.monotonic() < give_up, "it never learns"
        time.sleep(0.05)
    assert nodes.call("master", "switchback", SERVING="backup").returncode == 0


def test_each_call_is_logged_and_goes_wrong_when_it_was_told_to(nodes: Nodes) -> None:
    fault = nodes.service["backup"] / "faults" / "prepare.json"
    fault.write_text(json.dumps({"do": "fail", "skip": 1, "times": 1}))
    ended = [nodes.call("backup", "prepare", VERSION="3").returncode for _ in range(3)]
    assert ended == [0, 1, 0]
    began = [one for one in nodes.log("backup") if one["call"] == "prepare" and one.get("began")]
    assert [one["VERSION"] for one in began] == ["3", "3", "3"]
    assert [one["ended"] for one in nodes.log("backup") if one["call"] == "prepare" and "ended" in one] == ended
    lie = nodes.service["backup"] / "faults" / "version.json"
    lie.write_text(json.dumps({"do": "say", "text": "9.9"}))
    assert nodes.call("backup", "version").stdout == "9.9\n"
    lie.unlink()
    fault.unlink()


def test_the_configuration_is_alike_and_private(nodes: Nodes) -> None:
    what = nodes.commands["configuration"]
    folder = what["paths"][0]
    said = [
        nodes.ssh[node].run(f"cd {folder} && sha256sum * && stat -c %a *", timeout=30).stdout for node in nodes.service
    ]
    assert said[0] == said[1]
    assert said[0].split()[-2:] == ["600", "600"]
    assert (nodes.ask("master") or {})["configuration"] in said[0]
