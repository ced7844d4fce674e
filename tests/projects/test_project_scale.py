"""Many projects in one cluster: a second plan is empty, and what a look costs does not depend on how many there are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from project_lab import KUSTOMIZATIONS, SOURCES, ProjectLab

from tests.daemon.lab import document


def write_projects(lab: ProjectLab, folder: str, names: list[str], url: str) -> Path:
    """Documents of projects that share a repository, in one file."""
    repository = {"provider": "generic", "url": url, "auth": {"token": {"fromEnv": "SCALE_TOKEN"}}}
    path = lab.root / folder
    path.mkdir()
    spec = {"cluster": "dev", "repository": repository}
    (path / "projects.yaml").write_text("".join(document("Project", name, spec) for name in names))
    return path


def lists_of_a_plan(lab: ProjectLab, folder: Path, *options: str) -> tuple[list[str], float]:
    """The collections that a plan which finds nothing to do asks for, and its seconds. It asks for nothing else."""
    gate = lab.clusters["dev"].gate
    gate.forget()
    started = time.monotonic()
    lab.ok("plan", folder, "--detailed-exitcode", *options, SCALE_TOKEN="token")
    seconds = time.monotonic() - started
    assert {method for method, _ in gate.passed} == {"GET"}
    return sorted(path.partition("?")[0] for _, path in gate.passed if "continue=" not in path), seconds


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_row_3_many_projects_are_applied_once_and_a_look_takes_one_list_a_type(lab: ProjectLab, count: int) -> None:
    """Each is a Namespace, a Secret, a GitRepository and three Kustomizations: 200 of them are 1,200 objects."""
    lab.configure(secrets={"env": ["SCALE_*"]})
    cluster, gate = lab.clusters["dev"], lab.clusters["dev"].gate
    url = lab.repository().url
    names = [f"scale-{count}-{number}" for number in range(count)]
    folder = write_projects(lab, f"all-{count}", names, url)
    gate.forget()
    started = time.monotonic()
    lab.ok("apply", folder, "--yes", SCALE_TOKEN="token")
    took = time.monotonic() - started
    written = [path for method, path in gate.writes() if method == "PATCH"]
    assert len(written) == len(set(written)) == 6 * count, "each object is written once"
    ids = {row["id"] for row in lab.rows("SELECT id FROM projects WHERE resource LIKE ?", f"scale-{count}-%")}
    assert len(ids) == count
    for collection, each in ((SOURCES, 1), (KUSTOMIZATIONS, 3)):
        found = [one["metadata"]["labels"]["reconciler.dev/project-id"] for one in cluster.list(collection)]
        assert sum(one in ids for one in found) == each * count
    of_all, seconds = lists_of_a_plan(lab, folder)
    of_half, _ = lists_of_a_plan(lab, folder, "--limit", f"Project/scale-{count}-1*")
    print(f"{6 * count:,} objects applied in {took:.1f} s, planned again in {seconds:.2f} s with {len(of_all)} LISTs")
    assert of_all == of_half
    assert len(of_all) <= 5, of_all
    gate.forget()
    lab.ok("apply", folder, "--yes", SCALE_TOKEN="token")
    assert gate.writes() == []
