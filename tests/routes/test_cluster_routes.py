"""Routes of clusters, end to end: the real command line, a real HAProxy, requests through it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import until
from tests.routes.haproxy_lab import BASE_DOMAIN, NOT_FOUND, HaproxyLab, file_text, needs_haproxy, running

pytestmark = needs_haproxy


def routed(name: str, port: int, lifecycle: dict[str, Any] | None = None, **spec: Any) -> str:
    """A document of a sandbox cluster with a route to a port of this host."""
    return cluster(name, lifecycle, ports={"httpPort": port}, route={}, **spec)


def whoami(name: str) -> tuple[int, str]:
    return 200, f"Hostname: {name}\n"


def host(name: str) -> str:
    return f"whoami.{name}.{BASE_DOMAIN}"


def entries(haproxy: HaproxyLab, name: str) -> int:
    """Lines of exactly this name."""
    words = (line.split()[:2] for line in haproxy.text.splitlines())
    return sum(
        one in (["acl", f"host_{name}"], ["use_backend", f"be_{name}"], ["backend", f"be_{name}"]) for one in words
    )


def test_case_10_a_route_comes_changes_and_goes_with_its_cluster(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]
) -> None:
    """Made, drifted and healed, moved to another host, dropped from the spec, and deleted with the cluster."""
    plain = haproxy.text
    lab.write("dev.yaml", routed("dev", behind["dev"]))
    change = lab.plan()["Cluster/dev"]
    assert "ensure-route" in [step["name"] for step in change["steps"]]
    assert sum(step["weight"] for step in change["steps"]) == 100
    lab.apply()
    assert haproxy.get(host("dev")) == whoami("dev")
    assert haproxy.get(host("dev"), haproxy.https) == whoami("dev")
    assert haproxy.get(host("uat")) == NOT_FOUND
    assert haproxy.get("whoami.dev.evil.example") == NOT_FOUND
    assert haproxy.get(f"portainer.devops.{BASE_DOMAIN}") == whoami("portainer")
    assert lab.plan() == {}
    assert entries(haproxy, "dev") == 5

    haproxy.file.write_text(haproxy.text.replace(f"127.0.0.1:{behind['dev']} check", "127.0.0.1:9 check"))
    (diff,) = [one for one in lab.plan()["Cluster/dev"]["diffs"] if one["path"] == "spec.route.backend"]
    assert (diff["before"], diff["after"]) == ("127.0.0.1:9", "current")
    lab.apply()
    assert haproxy.get(host("dev")) == whoami("dev")

    moved = {"host": "dev.apps.example.org"}
    lab.write("dev.yaml", cluster("dev", ports={"httpPort": behind["dev"]}, route=moved))
    lab.apply()
    assert haproxy.get("whoami.dev.apps.example.org") == whoami("dev")
    assert haproxy.get(host("dev")) == NOT_FOUND

    lab.write("dev.yaml", cluster("dev", ports={"httpPort": behind["dev"]}))
    assert "remove-route" in [step["name"] for step in lab.plan()["Cluster/dev"]["steps"]]
    lab.apply()
    assert haproxy.text == plain
    assert haproxy.get("whoami.dev.apps.example.org") == NOT_FOUND
    assert lab.plan() == {}

    lab.write("dev.yaml", routed("dev", behind["dev"]))
    lab.apply()
    lab.write("dev.yaml", routed("dev", behind["dev"], {"state": "absent"}))
    lab.apply()
    assert haproxy.text == plain
    assert haproxy.get(host("dev")) == NOT_FOUND
    assert lab.row("dev") is None
    assert lab.rows("SELECT * FROM cluster_attachments") == []


def test_case_6_what_manages_the_others_is_never_routed(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]
) -> None:
    """Neither a management cluster, whatever it is called, nor one of that name, whatever its role; and no other that
    does not want to be."""
    lab.configure(defaults={"Cluster": {"route": {}}})
    ports = {"httpPort": behind["dev"]}
    lab.write(
        "all.yaml",
        cluster("devops", ports=ports),
        cluster("hub", role="management", ports=ports),
        cluster("alone", ports=ports, route={"enabled": False}),
    )
    lab.apply()
    for name in ("devops", "hub", "alone"):
        assert f"host_{name}" not in haproxy.text
    assert haproxy.get(f"portainer.devops.{BASE_DOMAIN}") == whoami("portainer")
    assert lab.plan() == {}


def test_row_0_30_and_case_5_a_ghost_is_pruned_and_live_ones_are_kept(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]
) -> None:
    """What is routed is what the records have."""
    lab.write("all.yaml", routed("dev", behind["dev"]), cluster("uat"))
    lab.apply()
    by_hand = haproxy.text
    for name in ("ghost", "devops", "uat"):
        for mark, line in (
            ("ACL", f"  acl host_{name}  hdr_reg(host) -i ^[^.]+\\.{name}\\.[^:]+\n"),
            ("USE_BACKEND", f"  use_backend be_{name} if host_{name}\n"),
            ("BACKENDS", f"backend be_{name}\n  server s1 127.0.0.1:{behind['uat']}\n"),
        ):
            by_hand = by_hand.replace(f"  # END DYNAMIC {mark}\n", f"{line}  # END DYNAMIC {mark}\n")
            by_hand = by_hand.replace(f"\n# END DYNAMIC {mark}\n", f"\n{line}# END DYNAMIC {mark}\n")
    haproxy.file.write_text(by_hand)
    listed = [line.split()[:2] for line in lab.ok("cluster", "routes").splitlines()]
    assert listed == [["routed", "dev"], ["ghost", "devops"], ["ghost", "ghost"], ["foreign", "uat"]]

    told = lab.ok("cluster", "routes", "--prune", "--dry-run")
    assert "would remove the route of ghost" in told
    assert haproxy.text == by_hand
    lab.ok("cluster", "routes", "--prune")
    assert [entries(haproxy, name) for name in ("ghost", "devops", "dev", "uat")] == [0, 0, 5, 5]
    assert haproxy.get(host("ghost")) == NOT_FOUND
    assert haproxy.get(host("dev")) == whoami("dev")
    assert haproxy.get(host("uat")) == whoami("uat")
    assert lab.plan() == {}
    assert lab.rows("SELECT cluster FROM cluster_attachments WHERE field = 'route'") == [{"cluster": "dev"}]


def test_case_5_nothing_is_pruned_by_records_that_know_no_cluster(lab: SandboxLab, haproxy: HaproxyLab) -> None:
    begin = "# BEGIN DYNAMIC BACKENDS (managed by scripts/haproxy_route.sh)\n"
    haproxy.file.write_text(haproxy.text.replace(begin, f"{begin}backend be_ghost\n  server s1 127.0.0.1:9\n"))
    before = haproxy.text
    done = lab.run("cluster", "routes", "--prune")
    assert done.code == 7
    assert "no business cluster" in done.err
    (lab.home / "reconciler.db").write_bytes(b"this is no database" * 100)
    assert lab.run("cluster", "routes", "--prune").code == 8
    assert haproxy.text == before


def test_case_5_a_route_that_haproxy_does_not_take_leaves_no_part_of_it(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]
) -> None:
    """A file that is wrong elsewhere, a damaged one, and a name that is taken: the step fails, saying where."""
    lab.write("dev.yaml", routed("dev", behind["dev"]))
    good = haproxy.text
    for bad, said in (
        (good.replace("default_backend be_default_404", "default_backend be_nowhere", 1), "unable to find required"),
        (good.replace("# END DYNAMIC BACKENDS\n", ""), "expected"),
        (f"{good}\nbackend be_dev\n  server mine 127.0.0.1:9\n", "be_dev is not ours"),
    ):
        haproxy.file.write_text(bad)
        done = lab.run("apply", lab.specs, "--yes")
        assert done.code != 0
        told = done.text + lab.ok("describe", "Cluster/dev")
        assert said in told, told
        assert str(haproxy.file) in told
        assert haproxy.text == bad
    haproxy.file.write_text(good)
    lab.apply()
    assert haproxy.get(host("dev")) == whoami("dev")


def test_case_24_k30_a_route_follows_its_node(docker: DockerLab, haproxy: HaproxyLab) -> None:
    """The address that the record and the file have is the one that docker says, before and after a restart."""
    docker.behave("moves")
    spec = {"ports": {"nodePort": 30080}, "route": {}}
    docker.write("all.yaml", docker_cluster("dev", "k3d", **spec), docker_cluster("uat", "kind", route={}))
    docker.apply()
    containers = {"dev": "k3d-dev-server-0", "uat": "uat-control-plane"}
    for name, container in containers.items():
        assert f"backend be_{name}\n  server s1 {docker.address(container)}:30080 check\n" in haproxy.text
    before = docker.address(containers["dev"])
    docker.by_hand("k3d", "cluster", "stop", "dev")
    docker.by_hand("k3d", "cluster", "start", "dev")
    after = docker.address(containers["dev"])
    assert after != before
    change = docker.plan()["Cluster/dev"]
    assert [step["name"] for step in change["steps"]] == ["address", "ensure-route", "record", "verify"]
    docker.apply()
    row = docker.row("dev")
    assert row is not None
    assert row["server_ip"] == after
    assert f"backend be_dev\n  server s1 {after}:30080 check\n" in haproxy.text
    assert before not in haproxy.text
    assert docker.plan() == {}


@pytest.mark.soak
def test_a_daemon_heals_a_route_that_was_edited_away(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]
) -> None:
    plain = haproxy.text
    lab.write("dev.yaml", routed("dev", behind["dev"], {"interval": "1s"}))
    daemon = lab.daemon()
    lab.await_ready("Cluster/dev")
    assert haproxy.get(host("dev")) == whoami("dev")
    haproxy.file.write_text(plain)
    until(lambda: entries(haproxy, "dev") == 5, daemon.err)
    assert daemon.terminate() == 0
    assert json.loads(lab.ok("get", "Cluster/dev", "-o", "json"))


def test_a_route_moves_to_another_haproxy_of_the_settings(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It leaves the one before it enters the other, and is told as what it is there."""
    plain = haproxy.text
    with running(tmp_path_factory.mktemp("edge")) as edge:
        lab.configure(kinds={"Cluster": {"haproxy": haproxy.settings, "haproxies": {"edge": edge.settings}}})
        lab.write("dev.yaml", routed("dev", behind["dev"]))
        lab.apply()
        ports = {"httpPort": behind["dev"]}
        lab.write("dev.yaml", cluster("dev", ports=ports, route={"haproxy": "edge"}))
        lab.apply()
        assert haproxy.text == plain
        assert edge.get(host("dev")) == whoami("dev")
        assert lab.plan() == {}
        assert f"routed    dev  127.0.0.1:{behind['dev']}  {edge.file}\n" == lab.ok("cluster", "routes")
        there = edge.text
        edge.file.write_text(edge.text.replace(" check\n", "\n", 1))
        assert lab.ok("cluster", "routes").startswith("changed ")
        edge.file.write_text(file_text(edge.folder, edge.http, edge.https))
        assert lab.ok("cluster", "routes").startswith("missing ")
        lab.write("dev.yaml", cluster("dev", ports=ports, route={"haproxy": "other"}))
        done = lab.run("plan", lab.specs)
        assert "no HAProxy 'other' in haproxies; they have edge" in done.text

        edge.file.write_text(there)
        lab.configure(kinds={"Cluster": {"haproxy": haproxy.settings}})
        lab.write("dev.yaml", cluster("dev", ports=ports))
        assert f"{edge.file} has a route of dev, and no HAProxy of the settings has that file" in lab.apply(code=None)
        edge.file.write_text(file_text(edge.folder, edge.http, edge.https))
        lab.apply()
        assert lab.plan() == {}
