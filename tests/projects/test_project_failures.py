"""Projects when something is wrong: a clear condition, a failed step with the reason, and nothing half recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from project_lab import KUSTOMIZATIONS, ProjectLab, Shop

FAILED = {"kind": "Status", "status": "Failure", "message": "etcd is on holiday", "code": 500}
HANGS_UP: tuple[int, dict[str, Any]] = (0, {})


def is_write_of(slug: str, method: str, path: str) -> bool:
    """Whether a request writes the Kustomization of an environment."""
    return method == "PATCH" and "/kustomizations/" in path and path.partition("?")[0].endswith(slug)


def assert_whole(shop: Shop) -> None:
    """What a project that is done looks like: no row twice, every object there."""
    assert {*shop.steps().values()} == {"completed"}
    assert (shop.row["status"], shop.row["progress"], shop.row["initialization_error"]) == ("active", 100, None)
    assert sorted(row["type"] for row in shop.resources()) == ["git-repository", *["kustomization"] * 3]
    assert len(shop.lab.clusters["dev"].list(KUSTOMIZATIONS, shop.namespace)) == 3
    assert len(shop.lab.environments(shop.name)) == 3
    assert shop.plan() is None


def test_flux_case_4_an_api_that_is_down_fails_setup_gitops_and_the_project(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("down")
    with gate.misbehaving(lambda _method, path: HANGS_UP if "fluxcd" in path or "project-" in path else None):
        shop.apply(code=None)
    assert (shop.steps()["setup_gitops"], shop.steps()["finalize"]) == ("failed", "pending")
    assert shop.row["status"] == "failed"
    assert shop.row["progress"] < 100
    shop.apply()
    assert_whole(shop)


def test_row_3_03_an_error_of_the_api_surfaces_with_its_text_and_a_duration(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("error")
    with gate.misbehaving(lambda method, path: (500, FAILED) if is_write_of("staging", method, path) else None):
        text = shop.apply(code=None)
    assert "etcd is on holiday" in text
    row = next(row for row in lab.init_steps("error") if row["step"] == "setup_gitops")
    assert (row["status"], row["completed_at"] is not None, row["duration"] >= 0) == ("failed", True, True)
    assert "etcd is on holiday" in row["error"]
    assert shop.row["status"] == "failed"
    assert "etcd is on holiday" in shop.row["initialization_error"]
    assert shop.row["progress"] < 100
    status = lab.status(shop.ref)
    assert status["ready"] == "False"
    assert "etcd is on holiday" in status["message"]
    shop.apply()
    assert_whole(shop)


def test_flux_case_5_killed_after_the_second_kustomization_it_goes_on_without_a_double(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("killed")
    killed = threading.Event()
    process = None

    def kill(method: str, path: str) -> tuple[int, dict[str, Any]] | None:
        if is_write_of("production", method, path) and process is not None and not killed.is_set():
            process.process.kill()
            killed.set()
            return HANGS_UP
        return None

    with gate.misbehaving(kill):
        process = shop.start()
        assert process.wait() != 0
    assert killed.is_set()
    before = {row["metadata"]["uid"] for row in lab.clusters["dev"].list(KUSTOMIZATIONS, shop.namespace)}
    assert len(before) == 2
    project_id = shop.id
    shop.apply()
    assert_whole(shop)
    after = {row["metadata"]["uid"] for row in lab.clusters["dev"].list(KUSTOMIZATIONS, shop.namespace)}
    assert shop.id == project_id
    assert before < after, "what was there stayed"


@contextmanager
def sampling(shop: Shop, into: list[tuple[int, dict[str, int]]]) -> Iterator[None]:
    """Look at the progress of a project and its steps all the time."""
    ends = threading.Event()

    def sample() -> None:
        while not ends.is_set():
            found = shop.lab.rows("SELECT progress FROM projects WHERE resource = ?", shop.name)
            if found:
                steps = {row["step"]: row["progress"] for row in shop.lab.init_steps(shop.name)}
                into.append((found[0]["progress"], steps))
            time.sleep(0.01)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_row_3_01_row_3_05_flux_case_6_progress_never_falls_and_is_100_only_after_the_last_read(
    lab: ProjectLab,
) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("progress")
    samples: list[tuple[int, dict[str, int]]] = []
    at_requests: list[tuple[str, str, int]] = []

    def note(method: str, path: str) -> None:
        found = lab.rows("SELECT progress FROM projects WHERE resource = 'progress'")
        at_requests.append((method, path, found[0]["progress"] if found else 0))

    with gate.misbehaving(note), sampling(shop, samples):
        shop.apply()
    shown = [percent for percent, _ in samples]
    assert shown == sorted(shown)
    assert len({*shown}) > 3, "and it was seen on its way"
    for step in shop.steps():
        seen = [steps.get(step, 0) for _, steps in samples]
        assert seen == sorted(seen), step
    assert shop.row["progress"] == 100
    last_write = max(number for number, (method, _, _) in enumerate(at_requests) if method == "PATCH")
    until_100 = [one for one in at_requests[last_write + 1 :] if one[2] < 100]
    read = {path.partition("?")[0].rpartition("/")[2] for _, path, _ in until_100}
    assert {shop.namespace, "gitrepositories", "kustomizations", "secrets"} <= read


def test_row_3_01_what_an_api_accepts_and_does_not_keep_is_not_done(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("forgotten")
    with gate.misbehaving(lambda method, path: (200, {}) if is_write_of("production", method, path) else None):
        text = shop.apply(code=None)
    assert "read back it still differs" in text
    assert "kustomizations.production" in text
    assert (shop.steps()["setup_gitops"], shop.steps()["finalize"]) == ("completed", "failed")
    assert (shop.row["status"], shop.row["progress"]) == ("failed", 95)
    shop.apply()
    assert_whole(shop)


def test_row_3_04_a_cluster_without_flux_is_a_failure_with_a_remedy(lab: ProjectLab, bare: str) -> None:
    cluster = lab.clusters[bare]
    shop = lab.shop("nowhere", cluster=bare)
    text = shop.apply(code=None)
    assert "does not serve GitRepository of source.toolkit.fluxcd.io/v1" in text
    assert "install Flux" in text
    assert (shop.steps()["setup_gitops"], shop.row["status"]) == ("failed", "failed")
    assert cluster.gate.writes() == []
    lab.serve_flux(cluster)
    cluster.client.close()
    shop.apply()
    assert {*shop.steps().values()} == {"completed"}


@pytest.fixture(scope="module")
def bare(lab: ProjectLab) -> str:
    """The name of a cluster without Flux' types."""
    lab.cluster("bare", flux=False)
    lab.ok("apply", lab.specs, "--yes")
    lab.clusters["bare"].gate.forget()
    return "bare"


def test_row_3_08_flux_case_7_a_missing_overlay_is_named_before_anything_is_written(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("missing", "staging", "production")
    gate.forget()
    text = shop.apply(code=None)
    assert "k8s/overlays/development" in text
    assert gate.writes() == []
    assert (shop.steps()["setup_gitops"], shop.row["status"]) == ("failed", "failed")
    shop.repository.commit({"k8s/overlays/development/kustomization.yaml": "resources: []"})
    shop.apply()
    assert_whole(shop)


def test_a_missing_branch_and_a_missing_repository_are_named(lab: ProjectLab) -> None:
    shop = lab.shop("branchless", repository={"branch": "trunk"})
    text = shop.apply(code=None)
    assert "there is no branch trunk, only main" in text
    shop.spec["repository"] = {"url": f"file://{lab.root}/git/nobody.git"}
    text = shop.apply(code=None)
    assert "nobody.git" in text
    assert shop.row["status"] == "failed"


def test_an_api_that_is_down_leaves_a_project_unknown_never_absent(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("unknown")
    shop.apply()
    with gate.misbehaving(lambda _method, path: HANGS_UP if "project-" in path or "fluxcd" in path else None):
        text = shop.apply(code=None)
    assert "cluster dev: " in text
    assert shop.row["status"] == "active"
    assert lab.status(shop.ref)["ready"] != "True"
    assert shop.plan() is None, "once it answers, all is as it was"


@pytest.mark.soak
def test_a_slow_api_is_waited_for(lab: ProjectLab) -> None:
    gate = lab.clusters["dev"].gate
    shop = lab.shop("slow")
    gate.delay = 2.0
    try:
        shop.apply()
    finally:
        gate.delay = 0.0
    assert_whole(shop)
