"""kill -9 at any line of making, starting and deleting a control plane: whoever comes next converges.

The lines are those of the code that does it, in the order in which a run comes to them (dying_at_lines.py). A few
moments of each run in every suite, every fourth line in `make soak`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clusters.envtest_lab import EnvtestLab, envtest
from tests.clusters.envtest_programs import PROGRAMS

DYING = Path(__file__).with_name("dying_at_lines.py")
KILLED = -9
SHARES = (0.3, 0.8)
"""Where in a run it is killed; many more places in the soak."""
STRIDE = 4
"""How many lines further each time, in the soak."""


def dying(plane: EnvtestLab, line: int) -> tuple[int, str]:
    """`apply`, killed at that line: how it ended, and what it printed."""
    done = subprocess.run(
        [sys.executable, str(DYING), str(line), "apply", str(plane.specs), "--yes"],
        env=plane.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def lines_of(plane: EnvtestLab) -> int:
    """How many lines an apply that is not killed comes to."""
    code, said = dying(plane, 0)
    assert code == 0, said
    return int(said.rpartition("lines: ")[2])


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
    total = lines_of(plane)
    absent = envtest(lifecycle={"state": "absent"})
    for share in SHARES:
        plane.write("dev.yaml", absent)
        show_gone(plane)
        plane.write("dev.yaml", envtest())
        assert dying(plane, int(total * share))[0] == KILLED
        show_made(plane)


def test_killed_at_lines_of_a_start_it_keeps_the_data(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    plane.kill_all()
    total = lines_of(plane)
    for share in SHARES:
        plane.kill_all()
        assert dying(plane, int(total * share))[0] == KILLED
        show_made(plane)
        assert plane.has_by_hand()


def test_killed_at_lines_of_a_deletion(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    total = lines_of(plane)
    for share in SHARES:
        plane.write("dev.yaml", envtest())
        show_made(plane)
        plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
        assert dying(plane, int(total * share))[0] == KILLED
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
        if dying(plane, line)[0] != KILLED:
            break
        killed += 1
        (show_gone if deletion else show_made)(plane)
    assert killed > 30
