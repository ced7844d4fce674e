"""A branch that follows its cluster, on a real bare repository: made, kept, moved, taken over, archived and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.branches.branch_lab import CHART, BranchLab
from tests.clusters.sandbox_lab import cluster


def git_steps(lab: BranchLab, name: str = "dev") -> list[str]:
    """The last change's steps that are about the branch."""
    return [step for step, _ in lab.steps(f"Cluster/{name}") if step.endswith("git")]


def test_made_kept_changed_dropped(lab: BranchLab) -> None:
    lab.write("dev.yaml", lab.cluster("dev"))
    lab.apply()
    assert set(lab.files("dev")) == CHART
    assert 'host: "whoami.dev.example.com"' in lab.files("dev")["deploy/values.yaml"]
    assert lab.commits("dev") == ["Set up branch dev for cluster dev"]
    assert lab.attached()["dev"]["commit"] == lab.heads()["dev"]
    head = lab.heads()["dev"]
    assert lab.plan() == {}
    lab.apply()
    assert lab.heads() == {"dev": head}, "nothing differs, so there is no commit"

    # somebody adds a file of their own, and changes one of ours: theirs stays, ours is put back
    foreign = {**lab.files("dev"), "deploy/values.yaml": "image: evil\n", "docs/mine.md": "mine"}
    lab.repository.commit(foreign, "by hand", branch="dev")
    (path,) = [diff["path"] for diff in lab.plan()["Cluster/dev"]["diffs"]]
    assert path == 'spec.git.files["deploy/values.yaml"]'
    lab.apply()
    assert lab.plan() == {}
    assert set(lab.files("dev")) == {*CHART, "docs/mine.md"}
    assert "evil" not in lab.files("dev")["deploy/values.yaml"]
    assert len(lab.commits("dev")) == 3

    # another content: what is no longer part of it goes, what is not ours stays
    (lab.specs / "app.txt").write_text("for ${cluster}")
    lab.write("dev.yaml", lab.cluster("dev", content={"path": "apps", "files": {"app.txt": "app.txt"}}))
    lab.apply()
    assert lab.files("dev") == {"apps/app.txt": "for dev", "docs/mine.md": "mine"}
    (lab.specs / "app.txt").write_text("anew")
    assert list(lab.plan()) == ["Cluster/dev"], "an edited file is a change"
    lab.apply()
    assert lab.files("dev")["apps/app.txt"] == "anew"

    # somebody deletes it: it is made again
    lab.repository.git("update-ref", "-d", "refs/heads/dev")
    lab.apply()
    assert lab.files("dev") == {"apps/app.txt": "anew"}
    last = lab.heads()["dev"]

    # no longer asked for: archived and gone, the cluster stays
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    assert (lab.heads(), lab.archived("dev"), lab.attached()) == ({}, [last], {})
    assert lab.state("dev") == "running"
    assert lab.plan() == {}
    assert git_steps(lab) == ["git"] * 5 + ["remove-git"]


def test_a_branch_of_somebody_else_is_not_touched_unless_it_may_be_taken_over(lab: BranchLab) -> None:
    theirs = lab.repository.commit({"README.md": "ours"}, branch="dev")
    lab.write("dev.yaml", lab.cluster("dev"))
    assert "that we did not make" in lab.apply(code=1)
    assert lab.heads() == {"dev": theirs}
    assert lab.state("dev") == "failed"
    assert "adopt" in str(lab.row("dev"))
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}))
    lab.apply()
    assert (lab.heads(), lab.tags(), lab.row("dev")) == ({"dev": theirs}, {}, None), "deleting leaves it alone as well"
    lab.write("dev.yaml", lab.cluster("dev", adopt=True))
    lab.apply()
    assert set(lab.files("dev")) == {*CHART, "README.md"}
    assert lab.repository.git("rev-parse", "dev~1") == theirs, "their commits stay below ours"
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}, adopt=True))
    lab.apply()
    assert (lab.heads(), len(lab.archived("dev"))) == ({}, 1)


def test_two_clusters_never_share_a_branch_and_settings_reserve_names(lab: BranchLab) -> None:
    lab.configure(kinds={"Cluster": {"git": {"reserved": ["hotfix-*"]}}})
    lab.write(
        "all.yaml",
        *(lab.cluster(name, branch="shared", adopt=True) for name in ("a", "b")),
        lab.cluster("c", branch="hotfix-1"),
    )
    text = lab.apply(code=3)
    states = {name: lab.state(name) for name in ("a", "b", "c")}
    assert sorted(map(str, states.values())) == ["failed", "failed", "running"]
    (owner,) = (name for name, state in states.items() if state == "running")
    assert f"branch shared is the one of Cluster/{owner}" in text
    assert "reserved by the setting git.reserved" in text
    assert set(lab.heads()) == {"shared"}
    assert [name for name, note in lab.attached().items() if note] == [owner]
    commit = lab.heads()["shared"]
    lab.write(
        "all.yaml", *(lab.cluster(name, {"state": "absent"}, branch="shared") for name in ("a", "b") if name != owner)
    )
    lab.apply()
    assert lab.heads() == {"shared": commit}, "the other one deletes nothing"


def test_a_branch_that_gets_another_place_is_archived_where_it_was(lab: BranchLab) -> None:
    lab.write("dev.yaml", lab.cluster("dev"))
    lab.apply()
    before = lab.heads()["dev"]
    lab.write("dev.yaml", lab.cluster("dev", branch="env/dev"))
    lab.apply()
    assert set(lab.heads()) == {"env/dev"}
    assert lab.archived("dev") == [before]
    assert lab.plan() == {}


def test_its_repository_down_hides_no_drift_of_the_cluster_and_is_never_taken_for_absent(lab: BranchLab) -> None:
    lab.write("dev.yaml", lab.cluster("dev"))
    lab.apply()
    commit = lab.heads()["dev"]
    away = lab.repository.path.with_name("away.git")
    lab.repository.path.rename(away)
    done = lab.run("plan", lab.specs)
    assert done.code == 6, "nobody knows whether all is as desired"
    assert "could not look at its git" in done.text
    lab.remove_by_hand("dev")
    plan = lab.plan()["Cluster/dev"]
    assert plan["action"] == "create", "the cluster's own drift is seen all the same"
    assert lab.run("apply", lab.specs, "--yes").code == 1
    assert lab.state("dev") == "failed"
    assert "dev" in lab.made()
    away.rename(lab.repository.path)
    lab.apply()
    assert (lab.state("dev"), lab.heads()) == ("running", {"dev": commit})
    assert lab.plan() == {}


def test_deleting_waits_for_the_branch(lab: BranchLab) -> None:
    """K25: as long as anything of it is left, so are the cluster and its record, and they say why."""
    lab.write("dev.yaml", lab.cluster("dev"))
    lab.apply()
    lab.hook("pre-receive", "echo the archive is closed >&2; exit 1")
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}))
    assert "the archive is closed" in lab.apply(code=1)
    assert (set(lab.heads()), lab.tags()) == ({"dev"}, {})
    assert "dev" in lab.made()
    row = lab.row("dev")
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "the archive is closed" in row["reconcile_error"]
    assert "the archive is closed" in lab.rows("SELECT error FROM cluster_attachments")[0]["error"]

    # a repository that is gone for good is left to others, and then it holds up nothing
    lab.repository.path.rename(lab.root / "elsewhere")
    left = {"ignore": ["spec.git"]}
    lab.write("dev.yaml", lab.cluster("dev", left))
    lab.apply()
    assert (lab.state("dev"), lab.plan()) == ("running", {})
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent", **left}))
    lab.apply()
    assert (lab.row("dev"), lab.made(), set(lab.attached())) == (None, {}, {"dev"})


@pytest.mark.parametrize("state", ["cluster gone", pytest.param("cluster there", marks=pytest.mark.soak)])
def test_a_document_that_is_gone_leaves_no_branch(lab: BranchLab, state: str, tmp_path: Path) -> None:
    """Credentials are read again where the record says that they came from."""
    key = tmp_path / "token"
    key.write_text("t0p-secret\n")
    lab.configure(secrets={"files": [str(tmp_path)]})
    path = lab.write("dev.yaml", lab.cluster("dev", auth={"token": {"fromFile": str(key)}}))
    lab.apply()
    assert lab.attached()["dev"]["access"] == {"username": "git", "token": f"file:{key}"}
    path.unlink()
    lab.write("other.yaml", cluster("other"))
    if state == "cluster gone":
        lab.remove_by_hand("dev")
    key.rename(tmp_path / "elsewhere")
    assert "token" in lab.apply("--prune", code=None)
    assert set(lab.heads()) == {"dev"}
    (tmp_path / "elsewhere").rename(key)
    lab.apply("--prune")
    assert (lab.heads(), len(lab.archived("dev")), lab.attached()) == ({}, 1, {})
    assert b"t0p-secret" not in lab.database.read_bytes()
