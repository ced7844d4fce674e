"""The keys of a lab: the one that may log in, and each node's own. Called by both variants."""

from __future__ import annotations

from pathlib import Path

from reconciler.lab.commands import run


def make_key(path: Path) -> str:
    """A new key pair; the public half. Nothing to do where it is there."""
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path))
    return path.with_name(f"{path.name}.pub").read_text()


def public_key(folder: Path) -> str:
    """Of the one who may log in: `id` in the lab's folder."""
    return make_key(folder / "id")


def host_key(ssh_folder: Path) -> str:
    """A node's own; its public half as known_hosts has it."""
    return " ".join(make_key(ssh_folder / "ssh_host_ed25519_key").split()[:2])
