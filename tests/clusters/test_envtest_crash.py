"""kill -9 at any line of making, starting and deleting a control plane: whoever comes next converges.

The lines are those of the code that does it, in the order in which a run comes to them (dying_at_lines.py). A few
moments of each run in every suite, every fourth line in `make soak`.
"""

from __future__ import annotations

import pytest

from tests.clusters.envtest_lab import EnvtestLab, envtest
from tests.clusters.envtest_programs import PROGRAMS

SHARES = (0.3, 0.8)
"""Where in a run it is killed; many more places in the soak."""
STRIDE = 4
"""How many lines further each time, in the soak."""


def show_made(plane: EnvtestLab) -> None:
    """Apply until it is done: it runs once, and nothing remembers that anybody died."""
    for _ in range(3):
        if plane.run("apply", plane.specs, "--yes").code == 0:
            break
    assert plane.plan() == {}
    assert set(plane.components()) == set(PROGRAMS), "each once"
    row = plane.row("dev")
    assert row is not None
    assert (row["actual_state"], row["reconcile_error"]) == ("running", None)
    assert plane.is_whole()


def show_gone(plane: EnvtestLab) -> None:
    """The same for a deletion."""
    for _ in range(3):
        if plane.run("apply", plane.specs, "--yes").code == 0:
            break
    assert plane.plan() == {}
    assert plane.left() == []
    assert plane.row("dev") is None
    assert plane.is_whole()


def test_killed_at_lines_of_a_creation(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    total = plane.lines()
    absent = envtest(lifecycle={"state": "absent"})
    for share in SHARES:
        plane.write("dev.yaml", absent)
        show_gone(plane)
        plane.write("dev.yaml", envtest())
        assert plane.dies_at(int(total * share))
        show_made(plane)


def test_killed_at_lines_of_a_start_it_keeps_the_data(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    plane.kill_all()
    total = plane.lines()
    for share in SHARES:
        plane.kill_all()
        assert plane.dies_at(int(total * share))
        show_made(plane)
        assert plane.has_by_hand()


def test_killed_at_lines_of_a_deletion(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    total = plane.lines()
    for share in SHARES:
        plane.write("dev.yaml", envtest())
        show_made(plane)
        plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
        assert plane.dies_at(int(total * share))
        show_gone(plane)


@pytest.mark.soak
@pytest.mark.parametrize("deletion", [False, True], ids=["creation", "deletion"])
def test_killed_at_lines_all_along(plane: EnvtestLab, deletion: bool) -> None:
    present, absent = envtest(), envtest(lifecycle={"state": "absent"})
    line = killed = 0
    while True:
        line += STRIDE
        plane.write("dev.yaml", present if deletion else absent)
        (show_made if deletion else show_gone)(plane)
        plane.write("dev.yaml", absent if deletion else present)
        if not plane.dies_at(line):
            break
        killed += 1
        (show_gone if deletion else show_made)(plane)
    assert killed > 20
