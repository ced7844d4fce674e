"""What is true of a pair whatever happened to it, once nobody works on it any more.

`invariants` is the whole list; each part says in words what is wrong, and nothing when all is well.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from pair import NAME, Pair
from pair_ground import NEW_TEXT, OLD_TEXT, ONCE
from pair_serving import ServingClient

from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import ROLES, ConfigurationSpec, NodeSpec, Role
from reconciler.transports.ssh import Ssh

_LOCKED = """for path in {paths}; do
  find "$path" ! -type l -exec lsattr -d {{}} + 2>/dev/null | awk '$1 ~ /i/ {{ print $2 }}'
  find "$path" -type f ! -perm -u+w -print
done | sort -u
"""


def invariants(pair: Pair, client: ServingClient | None = None) -> None:
    """Fail with all that is not as it has to be. client: asked both nodes throughout."""
    wrong = [
        *rsync_runs_or_it_says_why(pair),
        *no_lock_is_left(pair),
        *configuration_is_whole(pair),
        *nothing_ran_twice(pair),
        *history_has_no_gap(pair),
        *key_stays_on_the_nodes(pair),
    ]
    if client is not None:
        wrong += [str(gap) for gap in client.gaps]
        if not client.passes:
            wrong.append("nobody asked whether a node serves")
    if wrong:
        raise AssertionError("\n".join([*wrong, "", *told(pair)]))


def rsync_runs_or_it_says_why(pair: Pair) -> Iterator[str]:
    """rsync runs on both nodes, and the timer, or the pair says why not."""
    if "rsync" not in pair.spec or says_why(pair):
        return
    asked = {role: _running(pair) for role in ROLES}
    if pair.ground.variant == "rooted":
        asked["backup"] += " && systemctl is-active --quiet config-sync.timer"
    for role, script in asked.items():
        if pair.ground.run(role, script).returncode:
            yield f"rsync or its timer does not run on the {role}, and nothing says why"


def says_why(pair: Pair) -> str:
    """Why rsync may be stopped, "" when it may not."""
    if pair.state() == "WAIT_MANUAL":
        return str(pair.row()["wait_reason"] or "")
    newest = pair.upgrades()[-1:]
    return str(newest[0]["message"] or "") if newest and newest[0]["status"] == "PARTIAL" else ""


def no_lock_is_left(pair: Pair) -> Iterator[str]:
    """Nothing is locked; or the pair waits for a person, and the node unlocks it by itself before long."""
    for role in ROLES:
        paths = locked(pair, role)
        if not paths:
            continue
        if pair.state() != "WAIT_MANUAL":
            yield f"on the {role} is still locked: {' '.join(paths)}"
        seen = expiry(pair, role)
        if seen < time.time():
            yield f"on the {role} a lock outlived its expiry by {time.time() - seen:.0f} s: {' '.join(paths)}"


def locked(pair: Pair, role: Role) -> list[str]:
    """The configuration files of a node that cannot be written, as the node's own tools see them."""
    if "configuration" not in pair.spec:
        return []
    return pair.ground.said(role, _LOCKED.format(paths=" ".join(pair.spec["configuration"]["paths"]))).split()


def expiry(pair: Pair, role: Role) -> float:
    """When a node unlocks by itself, seconds since the epoch; 0 where it never will."""
    told, place = pair.spec["configuration"], pair.ground.place(role)
    folder = told.get("backupDirectory", "/var/lib/reconciler-node/backups")
    spec = ConfigurationSpec(tuple(told["paths"]), {}, told["lock"], 7200.0, folder)
    with Ssh(place) as ssh:
        return ConfigurationLock(Node(NodeSpec(role, place), ssh), spec, NAME).look().expires_at


def configuration_is_whole(pair: Pair) -> Iterator[str]:
    """Each node has the old configuration or the new one, and both have the same unless a person is asked."""
    found = {role: pair.content(role) for role in ROLES}
    for role, text in found.items():
        if text not in (OLD_TEXT, NEW_TEXT):
            yield f"the configuration of the {role} is neither the old nor the new one: {len(text)} characters"
    if len(set(found.values())) > 1 and pair.state() != "WAIT_MANUAL":
        which = {role: "old" if text == OLD_TEXT else "new" for role, text in found.items()}
        yield f"the configurations differ, and nobody is asked: {which}"
    keys = {(pair.ground.data(role) / "conf/root.key").read_text() for role in ROLES}
    if len(keys) > 1:
        yield "the root keys differ"


def nothing_ran_twice(pair: Pair) -> Iterator[str]:
    """Each command that must run once ran once in its upgrade, and detached: else nobody could know."""
    calls = pair.calls(*ONCE)
    for (role, name, under), count in Counter((call.role, call.name, call.under) for call in calls).items():
        if not under:
            yield f"{name} ran on the {role} on a connection: whether it ran cannot be known when that is lost"
        elif count > 1:
            yield f"{name} ran {count} times on the {role} as {under}"
    # taking a version back runs some of them once more, with the VERSION that was there before
    ran = ((call.role, call.name, call.environ["VERSION"], call.under.partition("-")[0]) for call in calls)
    yield from (
        f"{name} ran {n} times on the {role} for {version} in upgrade {run}"
        for (role, name, version, run), n in Counter(ran).items()
        if n > 1
    )


def history_has_no_gap(pair: Pair) -> Iterator[str]:
    """Every upgrade that touched a node has its row, an end, and its steps; states follow each other."""
    upgrades = pair.upgrades()
    runs = {call.under.partition("-")[0] for call in pair.calls(*ONCE) if call.under}
    for run in sorted(runs - {row["identity"] for row in upgrades}):
        yield f"upgrade {run} ran commands on a node and has no row"
    for row in upgrades:
        if row["status"] == "RUNNING" or row["ended_at"] is None:
            yield f"upgrade {row['identity']} has no end: {row['status']}"
        progress = pair.progress(row["upgrade_id"])
        unfinished = [step for step, status in progress.items() if status in ("RUNNING", "PENDING")]
        if not progress or (row["status"] in ("SUCCESS", "PARTIAL") and unfinished):
            yield f"upgrade {row['identity']} is {row['status']}, and its steps say: {progress}"
        if "RUNNING" in progress.values():
            yield f"upgrade {row['identity']} ended while a step runs: {progress}"
    transitions = pair.rows("SELECT * FROM pair_transitions WHERE pair = ? ORDER BY sequence", NAME)
    if [row["sequence"] for row in transitions] != list(range(1, len(transitions) + 1)):
        yield "a transition is missing"
    for before, after in pairwise(transitions):
        if before["target"] != after["source"]:
            yield f"{before['target']} is followed by {after['source']}"
    if transitions and transitions[-1]["target"] != pair.state():
        yield f"the pair is {pair.state()}, and its last transition led to {transitions[-1]['target']}"
    for row in pair.rows("SELECT name FROM steps WHERE outcome = 'open'"):
        yield f"step {row['name']} is still open in the journal"


def key_stays_on_the_nodes(pair: Pair) -> Iterator[str]:
    """The root key is in no file of our home: no log, no database."""
    key = pair.ground.root_key.encode()
    for path in pair.place.root.rglob("*"):
        if path.is_file() and key in path.read_bytes():
            yield f"the root key is in {path.relative_to(pair.place.root)}"


def told(pair: Pair) -> Iterator[str]:
    """What there is to know for whoever reads a failure."""
    yield f"pair: {pair.state()} {pair.row().get('wait_reason') or ''}"
    for row in pair.upgrades():
        yield f"upgrade {row['identity']}: {row['status']} {row['message'] or ''}"
        yield f"  {pair.progress(row['upgrade_id'])}"
    for row in pair.rows("SELECT name, outcome, message FROM steps ORDER BY id"):
        yield f"step {row['name']}: {row['outcome']} {re.sub(chr(10), ' | ', row['message'] or '')}"
    for call in pair.calls():
        if call.name in ONCE:
            what = f"{call.name} VERSION={call.environ['VERSION']} under {call.under or '-'}"
            yield f"{call.at:.2f} {call.role}: {what}: {call.ended}"


def _running(pair: Pair) -> str:
    return "systemctl is-active --quiet rsync" if pair.ground.variant == "rooted" else '"$LAB_NODE/control" status'
