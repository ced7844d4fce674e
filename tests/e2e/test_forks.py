"""The processes that tests fork: none of them outlives who asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import forking

_ASKS = """import sys, time
sys.path.insert(0, {plugins!r})
from forking import Forked
asked = [Forked(["sleeper"], {{}}, script={script!r}, stdout=sys.stdout.buffer, stderr=sys.stderr.buffer) for _ in "12"]
print(*[one.pid for one in asked], flush=True)
time.sleep(300)
"""


def test_a_fork_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text("import time\ntime.sleep(300)\n")
    asks = _ASKS.format(plugins=str(Path(forking.__file__).parent), script=str(script))
    run = subprocess.Popen([sys.executable, "-c", asks], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    with run, run.stdout:
        forks = [int(pid) for pid in run.stdout.readline().split()]
        assert len(forks) == 2, "the first was connected before the server was there, the second after"
        assert all(map(_lives, forks))
        run.kill()
    give_up = time.monotonic() + 60
    while any(map(_lives, forks)):
        assert time.monotonic() < give_up, "the fork goes on"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
