"""Kubeconfigs of clusters that we made: the document, and its file under the home. Called by steps and `observe`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from reconciler.errors import TerminalError


def kubeconfig_document(name: str, server: str, ca: str, token: str) -> dict[str, Any]:
    """A kubeconfig with one cluster, one user, one context, all called `name`. ca: PEM. Never `insecure` beside it."""
    encoded = base64.b64encode(ca.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encoded}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def compare_file(path: Path, document: Mapping[str, Any]) -> Literal["current", "outdated", "missing"]:
    """Whether the file is what we would write, readable by us alone."""
    try:
        text = path.read_text("utf-8")
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return "missing"
    except (OSError, UnicodeDecodeError):
        return "outdated"
    return "current" if text == _text(document) and mode == 0o600 else "outdated"


def write_file(path: Path, document: Mapping[str, Any]) -> None:
    """Write it whole or not at all, 0600 in a folder 0700. Refuses a document with both `insecure` and a CA."""
    for entry in document["clusters"]:
        cluster = entry["cluster"]
        if cluster.get("insecure-skip-tls-verify") and cluster.get("certificate-authority-data"):
            raise TerminalError("BadKubeconfig", "a kubeconfig may not have both insecure-skip-tls-verify and a CA")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(_text(document))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def remove_file(path: Path) -> None:
    """Remove it, and what a killed writer may have left."""
    for left in (*path.parent.glob(f".{path.name}.*.tmp"), path):
        with suppress(FileNotFoundError):
            left.unlink()


def _text(document: Mapping[str, Any]) -> str:
    """JSON, which is YAML: kubectl reads it, and writing it needs no library."""
    return json.dumps(document, indent=2) + "\n"
