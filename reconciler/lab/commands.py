"""Running the machine's tools for the lab, each with a deadline. Called by the lab's other modules."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from reconciler.errors import TerminalError
from reconciler.transports.process import Completed, ProcessRunner

_TIMEOUT = 30.0


def run(*argv: str, check: bool = True) -> Completed:
    """Run a tool and wait. Raises TerminalError("LabFailed") with what it said when it fails and `check` is set."""
    done = ProcessRunner().run(argv, timeout=_TIMEOUT)
    if check and done.returncode:
        raise TerminalError("LabFailed", f"{' '.join(argv[:6])}: {done.last_lines(3) or done.returncode}")
    return done


def missing(tools: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [tool for tool in tools if shutil.which(tool) is None and shutil.which(tool, path=path) is None]
