"""How long people wait for a small command: whole processes, against `ansible-playbook --check` of one local task."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figures import Figure, faster
from tests.bench.ground import Ground
from tests.bench.measuring import take_turns
from tests.bench.peers import Ansible

ROUNDS = 9
_CLUSTER = "apiVersion: reconciler.dev/v1\nkind: Cluster\nmetadata: {name: dev}\nspec: {provider: sandbox}\n"


def figures() -> Iterator[Figure]:
    """`--help`, `validate` of one file, `plan` of one unchanged sandbox cluster."""
    ansible = Ansible()
    ground = Ground("startup")
    file = ground.specs / "dev.yaml"
    file.write_text(_CLUSTER)
    ground.command("apply", ground.specs, "--yes")
    try:
        measured = {
            "help": lambda: ground.command("--help").wall,
            "validate": lambda: ground.command("validate", file).wall,
            "plan": lambda: ground.command("plan", ground.specs, "--detailed-exitcode").wall,
            "ansible": lambda: ansible.check().wall,
        }
        found = take_turns(ROUNDS, measured)
    finally:
        ground.command("sandbox", "stop")
    theirs = found["ansible"]
    yield faster("--help", found["help"], theirs, 5, f"against {ansible.version()}, one task, local, no facts")
    yield faster("validate of one file", found["validate"], theirs, 5)
    yield faster("plan of one unchanged sandbox cluster", found["plan"], theirs, 1.8)
