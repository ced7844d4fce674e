"""Clusters of provider envtest, from creation to deletion, against programs that behave as the real ones document."""

from __future__ import annotations

import http.client
import json
import ssl
import stat
from pathlib import Path

import pytest

from tests.clusters.envtest_lab import MOTD, MOTD_PATH, EnvtestLab, envtest
from tests.clusters.envtest_programs import PROGRAMS, install
from tests.clusters.sandbox_lab import CREATION, DELETION, cluster
from tests.daemon.lab import until


def test_a_life(plane: EnvtestLab) -> None:
    """Made, left alone, killed piece by piece, started again with its data and its ports, deleted without a trace."""
    plane.write("dev.yaml", envtest(manifests=[MOTD]))
    plane.apply()
    assert [name for name, outcome in plane.steps("Cluster/dev") if outcome == "done"] == list(CREATION)
    assert [argv[0] for argv in plane.starts()] == list(PROGRAMS), "in order, each once"
    assert plane.plan() == {}
    row, before, running = plane.row("dev"), plane.recorded(), plane.components()
    assert row is not None
    assert (row["actual_state"], row["version"], row["servers"], row["agents"]) == ("running", "1.32.0", 1, 0)
    assert set(running) == set(PROGRAMS)
    plane.put_by_hand()
    for program in PROGRAMS:
        plane.kill_component(program)
        change = plane.plan()["Cluster/dev"]
        assert [(diff["path"], diff["before"]) for diff in change["diffs"]] == [("spec.state", "stopped")]
        assert "start" in [step["name"] for step in change["steps"]]
        plane.apply()
        assert plane.plan() == {}
        started = plane.components()
        assert {name for name in PROGRAMS if started[name] != running[name]} == {program}, "only what was dead"
        assert plane.recorded() == before
        assert plane.has_by_hand()
        running = started
    again = plane.row("dev")
    assert again is not None
    assert again["cluster_uid"] == row["cluster_uid"]
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    plane.apply()
    assert plane.steps("Cluster/dev")[-len(DELETION) :] == [(name, "done") for name in DELETION]
    assert plane.left() == []
    assert plane.row("dev") is None
    assert plane.plan() == {}


def test_after_a_reboot_it_starts_again_and_leaves_strangers_alone(plane: EnvtestLab) -> None:
    """Process numbers of another boot belong to others by now, here to the etcd of another cluster."""
    plane.write("dev.yaml", envtest("dev"), envtest("other"))
    plane.apply()
    plane.put_by_hand("dev")
    plane.kill_all("dev")
    stranger = json.loads((plane.plane("other") / "run" / "etcd.json").read_text())
    for program in PROGRAMS:
        note = {**stranger, "bootId": "9a5e0c5c-0000-4000-8000-000000000000"}
        (plane.plane("dev") / "run" / f"{program}.json").write_text(json.dumps(note))
    assert plane.plan()["Cluster/dev"]["diffs"][0]["before"] == "stopped"
    others = plane.components("other")
    plane.apply()
    assert plane.has_by_hand("dev")
    plane.write("dev.yaml", envtest("dev", {"state": "absent"}), envtest("other"))
    plane.kill_all("dev")
    for program in PROGRAMS:
        (plane.plane("dev") / "run" / f"{program}.json").write_text(json.dumps(note))
    plane.apply()
    assert not plane.plane("dev").exists()
    assert plane.components("other") == others
    assert plane.plan() == {}


def test_a_daemon_starts_what_was_killed(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest(lifecycle={"interval": "1s"}))
    plane.daemon()
    plane.await_ready("Cluster/dev")
    before = plane.components()
    plane.kill_component("kube-apiserver")
    until(lambda: set(plane.components()) == set(PROGRAMS), plane.components)
    plane.await_ready("Cluster/dev")
    after = plane.components()
    assert after["kube-apiserver"] != before["kube-apiserver"]
    assert after["etcd"] == before["etcd"]


def test_two_at_once_and_a_stopped_one_have_ports_of_their_own(plane: EnvtestLab) -> None:
    plane.write("all.yaml", envtest("one"))
    plane.apply()
    plane.kill_all("one")
    plane.write("all.yaml", envtest("two"), envtest("three"))
    plane.apply("--forks", "2")
    ports = [port for name in ("one", "two", "three") for port in plane.recorded(name)["ports"].values()]
    assert len(set(ports)) == len(ports) == 12


def test_only_the_owner_can_read_any_of_it(plane: EnvtestLab) -> None:
    """Files, and etcd, which would give everything to whoever reaches its port."""
    plane.write("dev.yaml", envtest())
    plane.apply()
    readable = [
        path
        for path in (plane.home / "envtest").rglob("*")
        if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.is_file()
    ]
    assert [path for path in readable if "member" not in path.parts] == []
    assert stat.S_IMODE(plane.plane().stat().st_mode) == 0o700
    recorded = plane.recorded()
    context = ssl.create_default_context(cafile=str(plane.plane() / "certificates" / "ca.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", recorded["ports"]["etcd"], timeout=10, context=context)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _ask(connection)
    connection.close()
    tokens = (plane.plane() / "tokens.csv").read_text()
    for secret in (recorded["admin_token"], recorded["controllers_token"]):
        assert secret in tokens
        assert secret not in "".join(" ".join(argv) for argv in plane.starts())
        assert secret.encode() not in plane.database.read_bytes()


def test_without_controllers_it_says_so_and_admits_pods_without_service_accounts(
    plane: EnvtestLab, envtest_programs: Path
) -> None:
    plane.programs = install(plane.root / "two", ["etcd", "kube-apiserver"])
    plane.write("dev.yaml", envtest())
    plane.apply()
    assert [argv[0] for argv in plane.starts()] == ["etcd", "kube-apiserver"]
    assert "--disable-admission-plugins=ServiceAccount" in plane.starts()[1]
    said = plane.ok("logs", "Cluster/dev")
    assert "it has no nodes and runs no workloads; without kube-controller-manager no controller runs either" in said
    assert plane.plan() == {}


def test_it_says_that_it_runs_no_workloads_and_waits_for_no_nodes(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    assert "it has no nodes and runs no workloads\n" in plane.ok("logs", "Cluster/dev")
    assert "workloads: none: a control plane without nodes" in plane.ok("describe", "Cluster/dev")
    assert not any("ServiceAccount" in flag for flag in plane.starts()[1])
    with plane.api() as api:
        assert api.list("/api/v1/nodes") == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"agents": 2}, "one control plane without nodes"),
        ({"servers": 3}, "one control plane without nodes"),
        ({"ready": {"nodes": 1}}, "has no nodes"),
        ({"version": "1.31"}, "spec.version is 1.31, but"),
    ],
    ids=["agents", "servers", "nodes", "version"],
)
def test_what_it_cannot_be_is_refused_before_anything_is_made(
    plane: EnvtestLab, spec: dict[str, object], message: str
) -> None:
    plane.write("dev.yaml", envtest(**spec))
    assert message in plane.apply(code=None)
    assert plane.row("dev") is None
    assert plane.left() == []


def test_its_version_is_that_of_the_program(plane: EnvtestLab) -> None:
    plane.behave(kube_apiserver={"version": "1.31.7"})
    plane.write("dev.yaml", envtest(version="v1.31"))
    plane.apply()
    assert plane.plan() == {}
    assert plane.recorded()["version"] == "1.31.7"


@pytest.mark.parametrize(
    ("there", "missing"),
    [([], "etcd and kube-apiserver are"), (["etcd"], "kube-apiserver is"), (["kube-apiserver"], "etcd is")],
    ids=["neither", "only-etcd", "only-the-api-server"],
)
def test_a_missing_program_is_named_with_how_to_get_it(plane: EnvtestLab, there: list[str], missing: str) -> None:
    folder = plane.root / "some"
    folder.mkdir()
    plane.programs = install(folder, there)
    plane.write("dev.yaml", envtest(version="1.32"))
    said = plane.apply(code=None, PATH="/usr/sbin:/sbin")
    assert f"{missing} missing: looked in {folder} (named by KUBEBUILDER_ASSETS) and on PATH" in said
    assert 'export KUBEBUILDER_ASSETS="$(setup-envtest use -p path 1.32.x)"' in said
    assert plane.left() == []


def test_doctor_names_what_is_missing_and_what_is_there(plane: EnvtestLab, envtest_programs: Path) -> None:
    there = plane.run("doctor").text
    for program in PROGRAMS:
        assert str(envtest_programs / program) in there
    assert "its clusters run no workloads" in there
    plane.programs = install(plane.root / "two", ["etcd", "kube-apiserver"])
    assert "kube-controller-manager is not beside" in plane.run("doctor").text
    plane.programs = install(plane.root / "one", ["etcd"])
    missing = plane.run("doctor", PATH="/usr/sbin:/sbin").text
    assert f"kube-apiserver is missing: looked in {plane.programs} (named by KUBEBUILDER_ASSETS) and on PATH" in missing
    assert "setup-envtest use -p path" in missing


def test_programs_are_found_on_path_and_by_the_setting_and_kept(plane: EnvtestLab, envtest_programs: Path) -> None:
    """Whoever starts it again, a daemon for example, need not know where the programs are."""
    plane.programs = None
    plane.configure(kinds={"Cluster": {"envtest": {"assets": str(envtest_programs)}}})
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.configure(kinds={"Cluster": {"envtest": {}}})
    plane.kill_all()
    plane.apply()
    assert plane.plan() == {}
    plane.write("dev.yaml", envtest(), envtest("late"))
    assert "KUBEBUILDER_ASSETS is not set" in plane.apply(code=None)
    plane.apply(PATH=f"{envtest_programs}:/usr/bin:/bin")
    assert plane.recorded("late")["programs"] == plane.recorded("dev")["programs"]


def test_a_cluster_whose_record_was_lost_is_taken_over_as_it_is(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    plane.write_sql("DELETE FROM clusters")
    running = plane.components()
    plane.apply()
    assert plane.components() == running
    assert plane.has_by_hand()
    assert plane.plan() == {}


def test_a_stopped_cluster_whose_record_was_lost_is_started_with_its_data(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    plane.write_sql("DELETE FROM clusters")
    plane.kill_all()
    plane.behave(etcd={"dies": "no space left on device"})
    assert "no space left on device" in plane.apply(code=1)
    assert plane.row("dev") is not None
    plane.behave()
    plane.apply()
    assert plane.has_by_hand()
    assert plane.plan() == {}


def test_it_stands_still_as_long_as_the_spec_says_so(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    before = plane.recorded()
    plane.write("dev.yaml", envtest(running=False))
    plane.apply()
    assert plane.components() == {}
    assert plane.recorded() == before
    assert plane.plan() == {}
    plane.write("dev.yaml", envtest())
    plane.apply()
    assert set(plane.components()) == set(PROGRAMS)
    assert plane.has_by_hand()
    assert plane.plan() == {}


def test_drift_inside_is_put_right(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest(manifests=[MOTD]))
    plane.apply()
    with plane.api() as api:
        assert api.delete(MOTD_PATH)
    assert plane.plan()["Cluster/dev"]["action"] == "update"
    plane.apply()
    assert plane.plan() == {}


def test_the_sandbox_is_not_needed(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    assert plane.sandbox_pid() is None
    plane.write("dev.yaml", envtest(), cluster("boxed"))
    assert plane.plan()["Cluster/boxed"]["action"] == "create"


def _ask(connection: http.client.HTTPSConnection) -> None:
    connection.request("GET", "/health")
    connection.getresponse()
