"""What is asked of a plain node's rsync, with its time: the commands of the document write it down themselves."""

from __future__ import annotations

from pair import Pair

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
