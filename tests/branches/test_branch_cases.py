"""Cases of the predecessor's own tests about branches, and the defects of its scripts that are not repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.argocd.argo_lab import ArgoLab, application_set
from tests.branches.branch_lab import CHART, BranchLab
from tests.clusters.sandbox_lab import cluster


class ArgoBranchLab(BranchLab, ArgoLab):
    """With a management cluster that knows Argo CD's types."""


@pytest.fixture
def argo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoBranchLab]:
    """It, without its management cluster."""
    made = ArgoBranchLab(tmp_path_factory.mktemp("a"))
    try:
        yield made
    finally:
        made.close()


def test_case_13_the_branches_are_those_of_the_clusters(lab: BranchLab) -> None:
    """Branch set equals cluster set; main, developers' branches and test-api-x stay; prod leaves its archive."""
    theirs = {name: lab.repository.commit({"a": name}, branch=name) for name in ("main", "test-api-x", "feature/new")}
    lab.configure(defaults={"Cluster": {"git": lab.git()}})
    names = ("dev", "prod")
    lab.write("all.yaml", *(cluster(name) for name in names), cluster("devops", role="management"))
    lab.apply()
    assert set(lab.heads()) == {*names, *theirs}
    assert {row["name"] for row in lab.rows("SELECT name FROM clusters")} == {*names, "devops"}
    prod = lab.heads()["prod"]
    lab.write_sql("INSERT INTO clusters (name, provider) VALUES ('uat', 'sandbox')")  # wanted by its row alone
    lab.write("all.yaml", cluster("dev"), cluster("prod", {"state": "absent"}), cluster("devops", role="management"))
    lab.apply()
    assert set(lab.heads()) == {"dev", "uat", *theirs}
    assert lab.archived("prod") == [prod]
    assert {name: lab.heads()[name] for name in theirs} == theirs

    # main is refused for whatever cluster, before anything is done
    lab.write("bad.yaml", lab.cluster("bad", branch="main"))
    assert "main is a reserved name" in lab.apply(code=None)
    assert (lab.heads()["main"], lab.row("bad")) == (theirs["main"], None)
    (lab.specs / "bad.yaml").unlink()

    # nothing is left over, and a database without clusters deletes no branch
    shown = lab.ok("cluster", "branches", lab.specs, "--prune")
    assert {line.split()[1]: line.split()[0] for line in shown.splitlines()} == {
        **dict.fromkeys(("dev", "uat"), "kept"),
        "main": "reserved",
        **dict.fromkeys(("test-api-x", "feature/new"), "foreign"),
    }
    before = lab.heads()
    lab.write_sql("DELETE FROM clusters")
    (lab.specs / "all.yaml").unlink()
    done = lab.run("cluster", "branches", "--prune")
    assert done.code == 7
    assert "no business cluster" in done.text
    assert lab.heads() == before


def test_case_21_and_defect_k3_a_push_that_fails_is_a_failed_step(argo: ArgoBranchLab) -> None:
    """Nothing says that the cluster runs, and no ApplicationSet gets an element for it."""
    lab = argo
    lab.prepare()
    lab.begin("case")
    lab.hook("pre-receive", "echo quota exceeded >&2; exit 1")
    lab.write("dev.yaml", lab.cluster("dev"), application_set("whoami"))
    text = lab.apply(code=3)
    assert lab.names("whoami") == []
    assert "quota exceeded" in text
    assert dict(lab.steps("Cluster/dev"))["git"] == "failed"
    assert "verify" not in dict(lab.steps("Cluster/dev"))
    row = lab.row("dev")
    assert row is not None
    assert (row["actual_state"], row["cluster_uid"], row["last_reconciled_at"]) == ("failed", "", None)
    assert "quota exceeded" in row["reconcile_error"]
    assert re.search(rf"git: +failed: {lab.repository.url}", lab.ok("describe", "Cluster/dev"))
    assert lab.heads() == {}
    assert "dev" in lab.made(), "the cluster itself is not thrown away"
    (lab.repository.path / "hooks" / "pre-receive").unlink()
    lab.apply()
    assert (lab.state("dev"), set(lab.heads()), lab.plan()) == ("running", {"dev"}, {})
    assert lab.names("whoami") == ["dev"]


@pytest.mark.parametrize("defect", ["k6", "k9"])
def test_defects_k6_and_k9_no_branch_is_deleted_before_its_archive_is_there(lab: BranchLab, defect: str) -> None:
    """k6: no archive was made at all. k9: pushing it failed. The branch went all the same."""
    lab.write("prod.yaml", lab.cluster("prod"))
    lab.apply()
    head = lab.heads()["prod"]
    if defect == "k6":
        lab.hook("update", 'case "$1" in refs/tags/*) exit 1;; esac')
    else:  # the server takes the tag, but it is not there afterwards
        lab.hook(
            "post-receive",
            'while read old new ref; do case "$ref" in refs/tags/*) git update-ref -d "$ref";; esac; done',
        )
    lab.write("prod.yaml", lab.cluster("prod", {"state": "absent"}))
    lab.apply(code=1)
    assert (lab.heads(), lab.tags()) == ({"prod": head}, {})
    assert "prod" in lab.made()
    for hook in ("update", "post-receive"):
        (lab.repository.path / "hooks" / hook).unlink(missing_ok=True)
    lab.apply()
    assert (lab.heads(), lab.archived("prod"), lab.row("prod")) == ({}, [head], None)


def test_a_branch_that_moves_while_it_is_archived_loses_nothing(lab: BranchLab) -> None:
    """Somebody pushes between the tag and the deletion: the tag of a second try keeps that too."""
    lab.write("dev.yaml", lab.cluster("dev"))
    lab.apply()
    moved = lab.root / "moved"
    lab.hook(
        "post-receive",
        f"""while read old new ref; do case "$ref" in refs/tags/*)
            test -e {moved} && exit 0; touch {moved}
            tree=$(git rev-parse dev^{{tree}})
            late=$(GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a \\
                git commit-tree -m late -p dev $tree)
            git update-ref refs/heads/dev $late;; esac; done""",
    )
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}))
    lab.apply()
    assert lab.heads() == {}
    kept = lab.archived("dev")
    assert len(kept) == 2
    assert "late" in {lab.repository.git("log", "-1", "--format=%s", commit) for commit in kept}


def test_defect_k8_and_leftovers(lab: BranchLab) -> None:
    """Only what the records say we made is pruned, for a cluster that is gone from records and documents alike."""
    lab.repository.commit({"a": "a"}, branch="feature/new")
    lab.write("all.yaml", lab.cluster("dev"), lab.cluster("old"))
    lab.apply()
    old = lab.heads()["old"]
    lab.write_sql("DELETE FROM clusters WHERE name = 'old'")  # as somebody does who works past us
    lab.write("all.yaml", lab.cluster("dev"), lab.cluster("old"))
    assert "leftover" not in lab.ok("cluster", "branches", lab.specs, "--prune"), "its document still wants it"
    lab.write("all.yaml", lab.cluster("dev"))
    said = lab.ok("cluster", "branches", lab.specs, "--prune", "--dry-run")
    assert f"would archive and delete old of {lab.repository.url}" in said
    assert set(lab.heads()) == {"dev", "old", "feature/new"}
    lab.write("broken.yaml", "kind: [")
    done = lab.run("cluster", "branches", lab.specs, "--prune")
    assert (done.code, set(lab.heads())) == (7, {"dev", "old", "feature/new"}), "who knows what the broken file wants"
    (lab.specs / "broken.yaml").unlink()
    assert "keeps it" in lab.ok("cluster", "branches", lab.specs, "--prune")
    assert set(lab.heads()) == {"dev", "feature/new"}
    assert lab.archived("old") == [old]
    assert set(lab.attached()) == {"dev"}

    # a repository that cannot be looked at, a database that cannot be read
    lab.repository.path.rename(lab.repository.path.with_name("away.git"))
    assert lab.run("cluster", "branches", lab.specs).code == 6
    lab.repository.path.with_name("away.git").rename(lab.repository.path)
    for beside in lab.home.glob("reconciler.db-*"):
        beside.unlink()
    lab.database.write_bytes(b"this is no database" * 100)
    assert lab.run("cluster", "branches", lab.specs, "--prune").code == 8
    assert set(lab.heads()) == {"dev", "feature/new"}


def test_case_10_the_branch_comes_and_goes_with_its_cluster(lab: BranchLab) -> None:
    lab.write("dev.yaml", lab.cluster("dev"))
    lab.apply()
    assert (set(lab.files("dev")), lab.state("dev"), set(lab.attached())) == (CHART, "running", {"dev"})
    assert re.search(rf"git: +branch dev, commit {lab.heads()['dev']}, rep", lab.ok("describe", "Cluster/dev"))
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}))
    lab.apply()
    assert (lab.heads(), lab.row("dev"), lab.made(), lab.attached()) == ({}, None, {}, {})
    steps = [step for step, _ in lab.steps("Cluster/dev")]
    assert steps.index("remove-git") < steps.index("delete")
