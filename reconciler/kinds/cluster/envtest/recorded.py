"""cluster.json: what a control plane was made with, and is started with again. Read and written by `control_plane`.

It is the first thing that is made of a control plane and the first that is deleted, each in one step of the file
system: a folder without it is what a killed creation or deletion left, and holds nothing that anybody needs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import TransientError


@dataclass(frozen=True, slots=True)
class Record:
    """programs: path by name. ports: number by what listens there. version: of kube-apiserver. Tokens: bearer tokens.

    made: True once all of it was ready for the first time; until then nobody knows its ports.
    """

    programs: Mapping[str, str]
    ports: Mapping[str, int]
    version: str
    admin_token: str
    controllers_token: str
    made: bool = False

    @property
    def server(self) -> str:
        """URL of the API."""
        return f"https://127.0.0.1:{self.ports['kube-apiserver']}"


def read(folder: Path) -> Record | None:
    """The record of the control plane in a folder, None without one. Raises TransientError for one that is damaged."""
    path = folder / "cluster.json"
    try:
        written: Any = json.loads(path.read_text("utf-8"))
        return Record(**written)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise TransientError("BadRecord", f"{path} cannot be read: {error}") from error


def write(folder: Path, record: Record) -> None:
    """Write it, whole or not at all."""
    write_private(folder / "cluster.json", json.dumps(asdict(record), indent=2) + "\n")


def erase(folder: Path) -> None:
    """From now on there is no control plane in the folder."""
    (folder / "cluster.json").unlink(missing_ok=True)


def ports_of_all(folder: Path) -> set[int]:
    """Every port that is recorded for any control plane below `folder`; damaged records count for nothing."""
    taken: set[int] = set()
    for path in folder.glob("*/cluster.json"):
        try:
            taken |= set(json.loads(path.read_text("utf-8"))["ports"].values())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return taken


def write_private(path: Path, text: str) -> None:
    """A file of mode 0600 with this text, whole or not at all, also when the power fails."""
    partial = path.with_name(f"{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
