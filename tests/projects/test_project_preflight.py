"""What a project needs is looked at before anything is written, and each thing that is missing is named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from git_lab import Repository
from gitops_crds import FLUX, trimmed
from plain_context import PlainContext, project
from sandbox_server import Sandbox, write_kubeconfig

from reconciler.errors import TransientError, UnreachableError
from reconciler.kinds.project.preflight import check_clusters, check_repository, missing_paths
from reconciler.transports.kube import KubeTransport

OVERLAYS = {f"k8s/overlays/{slug}/kustomization.yaml": "" for slug in ("development", "staging", "production")}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with an overlay for each of the usual environments."""
    made = Repository(tmp_path / "shop.git")
    made.commit(OVERLAYS)
    return made


def at(repository: Repository, **fields: Any) -> dict[str, Any]:
    return {"provider": "generic", "url": repository.url, **fields}


def older(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition as an old Flux has it."""
    found = copy.deepcopy(definition)
    found["spec"]["versions"][0]["name"] = "v1beta2"
    return found


def test_row_3_04_case_4_a_cluster_without_flux_or_with_an_old_one_or_none_is_named(
    bare_sandbox: Sandbox, tmp_path: Path, repository: Repository
) -> None:
    kubeconfigs = {
        name: write_kubeconfig(tmp_path / name, bare_sandbox.create(name)) for name in ("none", "old", "new", "down")
    }
    for name, definitions in (("old", map(older, trimmed(*FLUX))), ("new", trimmed(*FLUX))):
        with KubeTransport(kubeconfigs[name]) as api:
            for definition in definitions:
                api.apply(definition)
    context = PlainContext(tmp_path, kubeconfigs)
    check_clusters(project(cluster="new", repository=at(repository)), context)
    for name, reason, words in (
        ("none", "NoFlux", ("cluster none: ", "GitRepository of source.toolkit.fluxcd.io/v1", "install Flux 2.0")),
        ("old", "OldFlux", ("cluster old: ", "only v1beta2", "upgrade Flux")),
        ("nowhere", "NoSuchCluster", ("cluster nowhere: ",)),
    ):
        with pytest.raises(TransientError) as caught:
            check_clusters(project(cluster=name, repository=at(repository)), context)
        assert caught.value.reason == reason
        assert [word for word in words if word not in caught.value.message] == []
    bare_sandbox.ask("DELETE", "/clusters/down")
    with pytest.raises(UnreachableError, match=r"^cluster down: "):
        check_clusters(project(cluster="down", repository=at(repository)), context)
    install = {"install": {"mode": "apply", "manifest": {"path": "flux.yaml", "sha256": "0"}}}
    check_clusters(project(cluster="none", repository=at(repository), flux=install), context)


def test_an_environment_in_another_cluster_is_looked_at_as_well(
    bare_sandbox: Sandbox, tmp_path: Path, repository: Repository
) -> None:
    there = write_kubeconfig(tmp_path / "there", bare_sandbox.create("there"))
    with KubeTransport(there) as api:
        for definition in trimmed(*FLUX):
            api.apply(definition)
    environments = [{"type": "staging"}, {"type": "production", "cluster": "elsewhere"}]
    spec = project(cluster="there", repository=at(repository), environments=environments)
    with pytest.raises(TransientError, match=r"^cluster elsewhere: "):
        check_clusters(spec, PlainContext(tmp_path, {"there": there}))


def test_row_3_08_case_7_every_missing_path_is_named(repository: Repository, tmp_path: Path) -> None:
    context = PlainContext(tmp_path / "git", {})
    check_repository(project(repository=at(repository)), context)
    repository.commit({"k8s/overlays/development/kustomization.yaml": None, "k8s/overlays/development": "a file"})
    with pytest.raises(TransientError) as caught:
        check_repository(project(repository=at(repository)), context)
    assert caught.value.reason == "NoPath"
    assert f"{repository.url}: branch main has no folder ./k8s/overlays/development: push it" in caught.value.message
    assert "staging" not in caught.value.message
    moved = [{"type": "staging"}, {"type": "production", "path": "deploy"}]
    with pytest.raises(TransientError, match=r"has no folder \./deploy: "):
        check_repository(project(repository=at(repository), environments=moved), context)


def test_row_3_09_paths_that_are_about_to_be_pushed_count_as_there(repository: Repository, tmp_path: Path) -> None:
    context = PlainContext(tmp_path / "git", {})
    spec = project(repository=at(repository, branch="trunk"))
    with pytest.raises(TransientError, match="there is no branch trunk, only main: push it"):
        check_repository(spec, context)
    check_repository(spec, context, OVERLAYS)
    with pytest.raises(TransientError, match=r"branch trunk has no folder \./k8s/overlays/production"):
        check_repository(spec, context, [path for path in OVERLAYS if "production" not in path])


def test_a_repository_that_is_not_there_is_named_unless_it_is_about_to_be_made(tmp_path: Path) -> None:
    context = PlainContext(tmp_path / "git", {})
    missing = {"provider": "gitlab", "url": f"file://{tmp_path}/nowhere.git"}
    with pytest.raises(TransientError, match=r"nowhere\.git: there is no such repository") as caught:
        check_repository(project(repository=missing), context, OVERLAYS)
    assert caught.value.reason == "NoSuchRepository"
    check_repository(project(repository={**missing, "create": True}), context, OVERLAYS)
    with pytest.raises(TransientError, match="there is no such repository") as caught:
        check_repository(project(repository={**missing, "create": True}), context)
    assert caught.value.reason == "NoSuchRepository"
    assert "created empty" in caught.value.message
    assert "give the project a template, or make the repository and push them there" in caught.value.message
    assert "check repository.url" not in caught.value.message


def test_one_that_is_there_is_taken_without_a_template_although_it_may_be_made(
    repository: Repository, tmp_path: Path
) -> None:
    context = PlainContext(tmp_path / "git", {})
    check_repository(project(repository=at(repository, provider="gitlab", create=True)), context)


def test_a_path_is_a_folder_and_nothing_that_only_begins_like_one() -> None:
    spec = project(
        repository={"provider": "generic", "url": "https://a.example/b.git"},
        environments=[{"type": "staging", "path": "a/b"}, {"type": "production", "path": "./a/"}],
    )
    assert missing_paths(spec, {"a/b/c.yaml"}) == []
    assert missing_paths(spec, {"a/bc/c.yaml"}) == ["./a/b"]
    assert missing_paths(spec, {"a/b"}) == ["./a/b"]
    assert missing_paths(spec, {"x/a/b/c"}) == ["./a/b", "./a"]
