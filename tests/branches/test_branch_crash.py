"""kill -9 at any line of making and removing a branch: whoever comes next converges, and nothing is lost or left.

The lines are those of the code for branches and of what speaks to the repository, in the order in which a run comes to
them (tests/clusters/dying_at_lines.py), the first and the last line of each step among them. A few moments in every
suite, every seventh line in `make soak`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.branches.branch_lab import CHART, BranchLab
from tests.clusters.sandbox_lab import cluster

SHARES = (0.65,)
STRIDE = 7
FOREIGN = {"README.md": "of somebody else"}


def settle(lab: BranchLab) -> None:
    """Apply until it is done; then nothing is to do, and nothing remembers that anybody died."""
    for _ in range(3):
        if lab.run("apply", lab.specs, "--yes").code == 0:
            break
    assert lab.plan() == {}
    assert lab.is_whole()


def show_made(lab: BranchLab) -> None:
    settle(lab)
    assert set(lab.heads()) == {"dev", "feature"}
    assert set(lab.files("dev")) == CHART
    assert lab.attached()["dev"]["commit"] == lab.heads()["dev"]
    assert lab.state("dev") == "running"


def show_gone(lab: BranchLab, commit: str) -> None:
    settle(lab)
    assert set(lab.heads()) == {"feature"}
    assert commit in lab.archived("dev"), "what was there is kept"
    assert lab.attached() == {}


def killed_at(lab: BranchLab, lines: Iterable[int], prepare: Callable[[], None], show: Callable[[], None]) -> None:
    """Whatever `prepare` leaves to be done is killed at each of these lines, and done by somebody else."""
    theirs = lab.heads()["feature"]
    for line in lines:
        prepare()
        assert lab.dies_at(line), line
        show()
        assert lab.heads()["feature"] == theirs


def run_through(lab: BranchLab, shares: Iterable[float] | None) -> None:
    """A branch is made, and removed while its cluster stays, over and over: each killed somewhere else."""
    lab.repository.commit(FOREIGN, branch="feature")
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    lab.write("dev.yaml", lab.cluster("dev"))
    making = lab.lines()
    lab.write("dev.yaml", cluster("dev"))
    removing = lab.lines()

    def places(total: int) -> Iterable[int]:
        return range(1, total, STRIDE) if shares is None else [max(int(total * share), 1) for share in shares]

    def without() -> None:
        lab.write("dev.yaml", cluster("dev"))
        lab.apply()
        lab.write("dev.yaml", lab.cluster("dev"))

    killed_at(lab, places(making), without, lambda: show_made(lab))
    commits: list[str] = []

    def with_it() -> None:
        lab.write("dev.yaml", lab.cluster("dev"))
        lab.apply()
        commits.append(lab.heads()["dev"])
        lab.write("dev.yaml", cluster("dev"))

    killed_at(lab, places(removing), with_it, lambda: show_gone(lab, commits[-1]))


def test_killed_inside_making_and_removing_a_branch(lab: BranchLab) -> None:
    run_through(lab, SHARES)


@pytest.mark.soak
def test_killed_at_every_seventh_line(lab: BranchLab) -> None:
    run_through(lab, None)


@pytest.mark.parametrize("moment", ["opened", pytest.param("closed", marks=pytest.mark.soak)])
def test_killed_at_the_boundaries_of_the_steps(lab: BranchLab, moment: str) -> None:
    """From outside, when the journal shows that the step began, or ended; its cluster is made and deleted around it."""
    lab.repository.commit(FOREIGN, branch="feature")

    def reached(step: str) -> bool:
        outcome = dict(lab.steps("Cluster/dev")).get(step)
        return outcome is not None and (moment == "opened" or outcome != "open")

    lab.write("dev.yaml", lab.cluster("dev"))
    assert lab.kill_when(lab.start("apply", lab.specs, "--yes"), lambda: reached("git"))
    show_made(lab)
    commit = lab.heads()["dev"]
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}))
    assert lab.kill_when(lab.start("apply", lab.specs, "--yes"), lambda: reached("remove-git"))
    show_gone(lab, commit)
    assert (lab.row("dev"), lab.made()) == (None, {})
