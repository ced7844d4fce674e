"""Clusters of somebody else: used, never made, never deleted."""

from __future__ import annotations

from pathlib import Path

import yaml
from cluster_lab import MOTD, NAME, Lab

from reconciler.kinds.cluster.rows import kubeconfig_path


def test_an_existing_cluster_is_used_and_let_go_untouched(lab: Lab, tmp_path: Path) -> None:
    lab.apply()
    other = Lab(tmp_path / "other", tmp_path / "other-specs", lab.capsys)
    other.specs.mkdir()
    given = {"path": str(kubeconfig_path(lab.home, NAME)), "context": NAME}
    manifest = {**MOTD, "metadata": {"name": "theirs"}}
    other.write({"provider": "existing", "kubeconfig": given, "manifests": [manifest]})
    assert other.apply() == 0
    row = other.row()
    assert row is not None
    assert (row["kubeconfig"], row["context"], row["created_by_us"]) == (given["path"], NAME, 0)
    assert other.plan()["action"] == "noop"
    with lab.api() as api:
        assert api.get("/api/v1/namespaces/default/configmaps/theirs") is not None
        api.delete("/api/v1/namespaces/default/configmaps/theirs")
    assert other.plan()["action"] == "update"
    assert other.apply() == 0
    other.write({"provider": "existing", "kubeconfig": given}, state="absent")
    assert other.apply() == 0
    assert other.row() is None
    assert Path(given["path"]).exists()
    with lab.api() as api:
        assert api.get("/api/v1/namespaces/default/configmaps/theirs") is not None, "objects stay as they are"
    assert not (other.home / "sandbox").exists()


def test_an_existing_cluster_that_became_another_one_is_not_touched(lab: Lab, tmp_path: Path) -> None:
    lab.apply()
    other = Lab(tmp_path / "other", tmp_path / "other-specs", lab.capsys)
    other.specs.mkdir()
    other.write({"provider": "existing", "kubeconfig": {"path": str(kubeconfig_path(lab.home, NAME))}})
    assert other.apply() == 0
    other.execute("UPDATE clusters SET cluster_uid = 'of-another-one'")
    plan = other.plan()
    assert plan["action"] == "noop"
    assert "is another cluster" in plan["obstacle"]["message"]


def test_a_kubeconfig_that_runs_programs_is_refused(lab: Lab, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "touch", "args": [str(ran)]}}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump(document))
    lab.write({"provider": "existing", "kubeconfig": {"path": str(tmp_path / "evil.yaml")}})
    assert lab.apply() != 0
    assert "users[u].user.exec would run a program" in lab.printed()
    assert not ran.exists()
    assert lab.row() is None
