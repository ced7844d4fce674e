"""An upgrade that is held in the middle, and what a plain node's rsync was told: its commands write that down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pair import Pair
from pair_faults import fault, heal
from pair_ground import until

LOGGED = 'echo "$(date +%s.%N) {verb}" >>"$LAB_NODE/service/rsync.log"'


def log_rsync(pair: Pair) -> None:
    """Let the document's commands write down that they are run."""
    commands = pair.spec["rsync"]["commands"]
    pair.spec["rsync"]["commands"] = {verb: f"{LOGGED.format(verb=verb)}\n{one}" for verb, one in commands.items()}
    pair.write()


def said_by_rsync(pair: Pair, role: str) -> list[tuple[float, str]]:
    """What was run on a node, in order: when, and `start`, `stop` or `status`."""
    path = pair.ground.service(role) / "rsync.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(float(at), verb) for at, verb in (line.split() for line in lines)]


def control(pair: Pair, role: str, verb: str) -> int:
    """Do something to a node's rsync by hand, past the log."""
    return pair.ground.run(role, f'"$LAB_NODE/control" {verb}').returncode


def is_held(pair: Pair, role: str, call: str) -> bool:
    """Whether a call is held by its fault."""
    return any(one.name == call and one.held for one in pair.ground.calls(role))


@contextmanager
def held(pair: Pair, role: str, call: str) -> Iterator[list[str]]:
    """An upgrade that is held in a call meanwhile, and then goes on to its end. Gives what it printed, then."""
    fault(pair.ground, role, call, "hold")
    process = pair.start()
    try:
        until(lambda: process.poll() is not None or is_held(pair, role, call), f"{call} on the {role}", 120)
        assert process.returncode is None, process.communicate()
        printed: list[str] = []
        yield printed
        heal(pair.ground, role, call)
        printed += [*process.communicate(120), str(process.returncode)]
    finally:
        heal(pair.ground, role, call)
        process.close()
