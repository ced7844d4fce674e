"""A plan of many resources with nothing to do: whole processes, against `terraform plan` of as many terraform_data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.bench.figures import Figure, faster, seconds, told
from tests.bench.ground import Ground
from tests.bench.measuring import BrokenError, take_turns
from tests.bench.peers import Terraform

SIZES = {1000: (2.5, 5), 5000: (12.0, 3)}
"""Resources: how many times faster we have to be, and rounds."""


def figures() -> Iterator[Figure]:
    """One figure a size."""
    for count, (wanted, rounds) in SIZES.items():
        counted, blocks = Terraform(count, "count"), Terraform(count, "blocks")
        ground = Ground(f"noop-{count}")
        ground.entries(count)
        ground.command("apply", ground.specs, "--yes")
        contestants = {
            "ours": partial(_plan, ground, count),
            "counted": partial(_terraform_plan, counted),
            "blocks": partial(_terraform_plan, blocks),
        }
        found = take_turns(rounds, contestants)
        what = f"plan of {count:,} unchanged resources"
        yield faster(
            what, found["ours"], found["counted"], wanted, f"against {counted.version()}, one block with count"
        )
        ratio = found["blocks"].median / found["ours"].median
        yield told("the same, against a block each", f"{ratio:.1f}×", f"Terraform: {seconds(found['blocks'].median)}")


def _terraform_plan(terraform: Terraform) -> float:
    return terraform.plan().wall


def _plan(ground: Ground, count: int) -> float:
    whole = ground.command("plan", ground.specs, "--detailed-exitcode")
    if f"{count} unchanged" not in whole.out:
        raise BrokenError(f"this was to be a plan of nothing: {whole.out[-500:]}")
    return whole.wall
