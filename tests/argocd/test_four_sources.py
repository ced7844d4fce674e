"""What follows the clusters says the same as their records: branches, Argo CD's Secrets, application sets, routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from git_lab import Repository

from tests.argocd.argo_lab import ArgoLab, application_set
from tests.clusters.sandbox_lab import cluster
from tests.routes.haproxy_lab import HaproxyLab, needs_haproxy

CONTENT = {"chart": "whoami", "host": "whoami.${cluster}.example.com"}
ABSENT = {"state": "absent"}


@pytest.fixture
def repository(lab: ArgoLab) -> Repository:
    """A repository whose branches follow the clusters, whatever says that they are wanted."""
    made = Repository(lab.specs.with_suffix(".git"))
    made.commit({"README.md": "of somebody else"}, branch="feature")
    return made


def follow(lab: ArgoLab, repository: Repository, **more: Any) -> None:
    """Every business cluster has a branch and is registered."""
    lab.configure(
        defaults={"Cluster": {"git": {"repository": repository.url, "content": CONTENT}, "argocd": {}, **more}}
    )


def sources(lab: ArgoLab, repository: Repository, name: str) -> dict[str, list[str]]:
    """The clusters of this test as each source has them."""
    heads = repository.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    selector = "argocd.argoproj.io/secret-type=cluster,type=business"
    with lab.api() as api:
        secrets = api.list("/api/v1/namespaces/argocd/secrets", label_selector=selector)
    return {
        "database": lab.business_names(),
        "branches": sorted(set(heads) - {"feature"}),
        "secrets": sorted(one["metadata"]["labels"]["env"] for one in secrets),
        "application set": lab.names(name),
    }


def test_case_14_four_sources_are_equal(lab: ArgoLab, repository: Repository) -> None:
    """Clusters of documents and of a row, then none of them: each time all four say the same."""
    follow(lab, repository)
    lab.write("all.yaml", cluster("dev"), cluster("uat"), application_set("case-14"))
    lab.write_sql("INSERT INTO clusters (name, provider) VALUES ('row-made', 'sandbox')")
    lab.apply()
    assert sources(lab, repository, "case-14") == {
        "database": ["dev", "row-made", "uat"],
        "branches": ["dev", "row-made", "uat"],
        "secrets": ["dev", "row-made", "uat"],
        "application set": ["dev", "row-made", "uat"],
    }
    assert lab.plan() == {}
    lab.write_sql("UPDATE clusters SET desired_state = 'absent' WHERE name = 'row-made'")
    lab.write("all.yaml", cluster("dev", ABSENT), cluster("uat", ABSENT), application_set("case-14"))
    lab.apply()
    assert set(map(tuple, sources(lab, repository, "case-14").values())) == {()}
    assert len(repository.git("tag", "--list", "archive/*").split()) == 3
    assert repository.git("log", "--format=%s", "feature").strip().count("\n") == 0, "one commit, as before"


def test_case_21_a_push_that_fails_gives_no_element(lab: ArgoLab, repository: Repository) -> None:
    follow(lab, repository)
    hook = repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    lab.write("all.yaml", cluster("pushed"), application_set("case-21"))
    lab.apply(code=3)
    assert (dict(lab.steps("Cluster/pushed"))["git"], lab.state("pushed")) == ("failed", "failed")
    assert "pushed" not in lab.names("case-21")
    hook.unlink()
    lab.apply()
    assert "pushed" in lab.names("case-21")
    lab.write("all.yaml", cluster("pushed", ABSENT), application_set("case-21"))
    lab.apply()


@needs_haproxy
def test_row_0_30_branches_set_and_routes_are_made_of_the_database(
    lab: ArgoLab, repository: Repository, tmp_path: Path
) -> None:
    """No document names the clusters: rows do. A row that changes moves its route; one that goes takes all with it."""
    routes = HaproxyLab(tmp_path)
    follow(lab, repository, route={})
    lab.configure(kinds={"Cluster": {"haproxy": {**routes.settings, "reload": {"command": ["true"]}}}})
    lab.write("set.yaml", application_set("row-30"))
    for name, port in (("one", 18101), ("two", 18102)):
        lab.write_sql(f"INSERT INTO clusters (name, provider, http_port) VALUES ('{name}', 'sandbox', {port})")
    lab.apply()
    assert set(map(tuple, sources(lab, repository, "row-30").values())) == {("one", "two")}
    assert ["acl host_one " in routes.text, "127.0.0.1:18102" in routes.text] == [True, True]
    lab.write_sql("UPDATE clusters SET http_port = 18103 WHERE name = 'two'")
    lab.write_sql("UPDATE clusters SET desired_state = 'absent' WHERE name = 'one'")
    lab.apply()
    assert set(map(tuple, sources(lab, repository, "row-30").values())) == {("two",)}
    assert ["host_one" in routes.text, "127.0.0.1:18102" in routes.text, "127.0.0.1:18103" in routes.text] == [
        False,
        False,
        True,
    ]
    lab.write_sql("UPDATE clusters SET desired_state = 'absent'  WHERE name = 'two'")
    lab.apply()
    assert lab.business_names() == lab.names("row-30") == []
