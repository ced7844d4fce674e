"""The schemas of the built-in types: derived once per client version in a child process, kept as JSON, compiled when
used.

Called by `service` (starts the derivation early) and by `api` before anything that needs a schema.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from reconciler.errors import DeadlineError, TerminalError
from reconciler.sandbox import models, schema_facts
from reconciler.sandbox.resources import BUILT_IN, EXTRA_MODELS
from reconciler.sandbox.schema import Compiler

_DEADLINE = 120.0


class Catalog:
    """Components and their compiled nodes, the same for every cluster. folder: where the derived JSON is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deriving: asyncio.Task[None] | None = None
        self.components: dict[str, Any] = {}
        self.compiler = Compiler()

    def start(self) -> None:
        """Begin to load in the background, so that the first write does not wait."""
        if self._deriving is None or (self._deriving.done() and not self.components):
            self._deriving = asyncio.get_running_loop().create_task(self._load())

    async def ready(self) -> None:
        """Return when the schemas are there. TerminalError or DeadlineError when they cannot be derived."""
        if self.components:
            return
        self.start()
        assert self._deriving is not None
        await asyncio.shield(self._deriving)

    async def close(self) -> None:
        """Stop a derivation that still runs."""
        if self._deriving is not None and not self._deriving.done():
            self._deriving.cancel()
            await asyncio.gather(self._deriving, return_exceptions=True)

    async def _load(self) -> None:
        path = self._folder / f"schemas-{_fingerprint()}.json"
        if not path.exists():
            await _derive(path)
        self.components = json.loads(await asyncio.to_thread(path.read_bytes))
        self.compiler = Compiler(self.components, typed=True)


def roots() -> list[str]:
    """The client's models that the served types need."""
    return [one.model for one in BUILT_IN] + list(EXTRA_MODELS)


def _fingerprint() -> str:
    """Changes with the client's version and with what we add to its models."""
    digest = hashlib.sha256(" ".join(roots()).encode())
    for module in (models, schema_facts):
        digest.update(Path(str(module.__file__)).read_bytes())
    return f"{importlib.metadata.version('kubernetes')}-{digest.hexdigest()[:12]}"


async def _derive(path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "reconciler.sandbox.models",
        str(path),
        *roots(),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaint = await asyncio.wait_for(child.communicate(), _DEADLINE)
    except TimeoutError as error:
        raise DeadlineError("SchemaDerivation", f"deriving the schemas took more than {_DEADLINE:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise TerminalError("SchemaDerivation", f"the schemas could not be derived: {last}")
