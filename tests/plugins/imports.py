"""What a command imports, asked in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from place import Place

_SCRIPT = """
import os, sys
from reconciler.cli.main import run
code = run(sys.argv[1:])
sys.stdout.flush()
os.write(2, ("\\nMODULES " + " ".join(sys.modules)).encode())
sys.exit(code)
"""


def imported(place: Place, *arguments: str | Path, code: int = 0) -> set[str]:
    """The modules that a command ends with."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *map(str, arguments)],
        env=place.environ,
        cwd=place.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return set(done.stderr.rpartition("MODULES ")[2].split())
