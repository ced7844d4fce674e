"""One synchronization, from the master to the backup, and the comparison of both. Called by the steps and `operating`.

It runs on the backup. First a dry run says what would be done: more deletions than the limit, and nothing is done; and
the real run may delete no more than that preview named. Its time-out, for all of it, is kept on the node, where the
whole process group is killed: nothing of it runs on, whether we are there or not. A second one waits for the first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.errors import DeadlineError, TerminalError, TransientError, WaitingError
from reconciler.kinds.node_pair.nodes.configuration import Configuration
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pair_folder import run_script
from reconciler.kinds.node_pair.nodes.sums import digest, records
from reconciler.kinds.node_pair.rsync_output import Itemized, SyncedFile, exit_meaning, failed_files, itemized
from reconciler.kinds.node_pair.rsync_parts import Part, parts_of
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec, Role, RsyncSpec

Status = Literal["SUCCESS", "FAILED", "PARTIAL", "TIMEOUT"]
Sums = Mapping[Role, Mapping[str, str]]
UNKNOWN_SUM = "0" * 64
"""Stands for the checksum of a node that could not be asked."""
_PARTLY = (23, 24, 25)
_TIMED_OUT = (30, 35)
_SHOWN = 20
_GRACE = 20.0
_RUN = r"""mkdir -p "$pair" && chmod 700 "$base" "$base/pairs" "$pair" || exit 1
seconds=$1
shift
exec 8>>"$pair/syncing"
flock -w "$((seconds + 10))" 8 || refuse Busy "another synchronization of $name runs"
began=$(date +%s)
setsid timeout -k 5 "$seconds" "$@" >"$pair/sync-out" 2>"$pair/sync-err" </dev/null &
runner=$!
wait "$runner"
status=$? late=no
case $status in 124 | 137 | 143) test $(($(date +%s) - began)) -lt "$seconds" || late=yes ;; esac
test $late = no || kill -9 "-$runner" 2>/dev/null
{
  printf '%s\0%s\0' "$status" "$late"
  tail -c 8000 "$pair/sync-err" | tr -d '\000'
  printf '\0'
  head -c 8000000 "$pair/sync-out" | tr -d '\000'
  printf '\0end\0'
} | gzip -c | base64
rm -f "$pair/sync-out" "$pair/sync-err"
"""


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of a synchronization. started_at: epoch seconds; duration: seconds. files: what changed or failed.

    checksum_before, checksum_after: one over all of the master's configuration and of the backup's, 64 zeros where
    there was none to be had; `error` says so. error: "" for success.
    """

    status: Status
    started_at: float
    duration: float
    files: tuple[SyncedFile, ...]
    checksum_before: str
    checksum_after: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a synchronization would do. deletions: how many files and folders. error: why that is not known, or is not
    going to be done."""

    files: tuple[SyncedFile, ...] = ()
    deletions: int = 0
    error: str = ""


@dataclass(slots=True)
class _Ran:
    """How one program ended. late: it was killed, for its time was up."""

    status: int
    late: bool
    errors: str
    found: Itemized


@dataclass(slots=True)
class _Outcome:
    """What is known so far. planned: how many deletions each part makes. is_refused: they are too many."""

    status: Status = "SUCCESS"
    files: list[SyncedFile] = field(default_factory=list)
    error: str = ""
    planned: list[int] = field(default_factory=list)
    is_refused: bool = False

    def ended(self, status: Status, error: str) -> None:
        """Take the worse of what was and this."""
        order: tuple[Status, ...] = ("SUCCESS", "PARTIAL", "FAILED", "TIMEOUT")
        self.status = max(self.status, status, key=order.index)
        self.error = f"{self.error}\n{error}".strip()


class _Synchronization:
    """One, with its deadline. give_up: monotonic seconds."""

    def __init__(self, node: Node, spec: NodePairSpec, rsync: RsyncSpec, log: Callable[[str], None]) -> None:
        self._node = node
        self._spec = spec
        self._rsync = rsync
        self._log = log
        self._give_up = time.monotonic() + rsync.timeout
        self.parts = parts_of(spec, rsync)

    def preview(self) -> _Outcome:
        """The dry runs of all parts."""
        outcome = _Outcome()
        for part in self.parts:
            if not part.dry_run:
                self._log("there is no dry run: neither a preview nor a limit of deletions\n")
                outcome.planned.append(self._rsync.max_delete)
            elif not self._add(part, self._run(part.dry_run, part), outcome):
                break
        deleted = [one.path for one in outcome.files if one.action == "deleted"]
        if outcome.status == "SUCCESS" and len(deleted) > self._rsync.max_delete:
            shown = ", ".join(deleted[:5])
            message = f"it would delete {len(deleted)} files, and the limit is {self._rsync.max_delete} (maxDelete)"
            outcome.is_refused = True
            outcome.ended("FAILED", f"{message}: {shown}; nothing was done")
        return outcome

    def do(self, planned: _Outcome) -> _Outcome:
        """The real runs, of what the preview named."""
        outcome = _Outcome()
        for part, deletions in zip(self.parts, planned.planned, strict=True):
            if not self._add(part, self._run(part.command(deletions), part), outcome):
                break
        return outcome

    def _run(self, words: tuple[str, ...], part: Part) -> _Ran:
        left = math.ceil(self._give_up - time.monotonic())
        if left <= 0:
            return _Ran(124, True, "", Itemized())
        env = self._spec.environment("backup", self._spec.version) if not part.target else None
        arguments = [self._spec.name, str(left), *words]
        try:
            done = run_script(self._node, _RUN, arguments, env=env, timeout=2 * left + _GRACE)
        except DeadlineError:
            return _Ran(124, True, "the node did not say how it ended", Itemized())
        status, late, errors, out = (one.decode("utf-8", "replace") for one in records(done, self._node))
        return _Ran(int(status), late == "yes", errors, itemized(out, part.target))

    def _add(self, part: Part, ran: _Ran, outcome: _Outcome) -> bool:
        """Add a run to the outcome; whether the next part may follow."""
        outcome.planned.append(ran.found.deletions)
        failed = failed_files(ran.errors, part.target, part.path)
        wrong = {one.path for one in failed}
        outcome.files += [*(one for one in ran.found.files if one.path not in wrong), *failed]
        for one in ran.found.files[:_SHOWN]:
            self._log(f"{one.action} {one.path}\n")
        if len(ran.found.files) > _SHOWN:
            self._log(f"and {len(ran.found.files) - _SHOWN} more\n")
        if ran.late or (ran.status in _TIMED_OUT and part.target):
            outcome.ended("TIMEOUT", f"not done within {self._rsync.timeout:g} s, and ended{_because(ran)}")
            return False
        if ran.status == 0:
            return True
        is_partly = ran.status in _PARTLY
        outcome.ended("PARTIAL" if is_partly else "FAILED", f"{exit_meaning(ran.status)}{_because(ran)}")
        return is_partly


def synchronize(
    nodes: Mapping[Role, Node],
    spec: NodePairSpec,
    *,
    log: Callable[[str], None],
    alarm: Callable[[str, str], None],
) -> Synced:
    """Synchronize once. What goes wrong with it is its status; more deletions than the limit is an alarm as well.

    Raises WaitingError for a backup that does not answer, TerminalError("NoSync") where nothing says how.
    """
    rsync = _rsync(spec)
    started_at, began = time.time(), time.monotonic()
    before, why_before = _checksum(nodes["master"], spec)
    try:
        outcome = _performed(_Synchronization(nodes["backup"], spec, rsync, log), log)
    except TerminalError as failure:
        outcome = _Outcome("FAILED", error=failure.message)
    if outcome.is_refused:
        alarm("TooManyDeletions", f"the synchronization of {spec.name} was not run: {outcome.error}")
    after, why_after = _checksum(nodes["backup"], spec)
    error = "\n".join(part for part in (outcome.error, why_before, why_after) if part)
    return Synced(outcome.status, started_at, time.monotonic() - began, tuple(outcome.files), before, after, error)


def preview(nodes: Mapping[Role, Node], spec: NodePairSpec, *, log: Callable[[str], None]) -> Preview:
    """What a synchronization would do now; nothing is changed. Raises what `synchronize` raises."""
    rsync = _rsync(spec)
    try:
        planned = _Synchronization(nodes["backup"], spec, rsync, log).preview()
    except TerminalError as error:
        return Preview(error=error.message)
    return Preview(tuple(planned.files), sum(one.action == "deleted" for one in planned.files), planned.error)


def differing(master: Mapping[str, str], backup: Mapping[str, str]) -> list[str]:
    """The paths, sorted, in which the files of both nodes differ, or that only one of them has. Pure."""
    return sorted(path for path in {*master, *backup} if master.get(path) != backup.get(path))


def conflict_between(baseline: Sums, now: Sums) -> str:
    """Why neither side may overwrite the other: both changed since the baseline, and not alike. "" when they may. Pure.

    Both arguments: sums by role and path. Without a baseline of both sides nothing can be said.
    """
    if any(role not in baseline or role not in now for role in ROLES):
        return ""
    apart = set(differing(now["master"], now["backup"]))
    changed = {role: [path for path in differing(baseline[role], now[role]) if path in apart] for role in ROLES}
    if not all(changed.values()):
        return ""
    told = [f"on the {role} {', '.join(paths[:5])}{_more(paths)}" for role, paths in changed.items()]
    return f"the configuration was changed on both sides: {' and '.join(told)}"


def _performed(one: _Synchronization, log: Callable[[str], None]) -> _Outcome:
    log("what would be done:\n")
    planned = one.preview()
    if planned.status == "SUCCESS":
        log("synchronizing:\n")
        return one.do(planned)
    planned.files = [file for file in planned.files if file.status == "failed"]
    return planned


def _rsync(spec: NodePairSpec) -> RsyncSpec:
    if spec.rsync is None or spec.rsync.sync is None:
        raise TerminalError("NoSync", f"rsync.sync of {spec.name} does not say how a synchronization is run")
    return spec.rsync


def _checksum(node: Node, spec: NodePairSpec) -> tuple[str, str]:
    """One checksum over a node's configuration, and why there is none."""
    if spec.configuration is None:
        return UNKNOWN_SUM, ""
    try:
        return digest(Configuration(node, spec.configuration, spec.name).sums()), ""
    except (TerminalError, TransientError, WaitingError) as error:
        return UNKNOWN_SUM, f"the checksum of the {node.role} is not known: {error.message}"


def _because(ran: _Ran) -> str:
    lines = [line for line in ran.errors.splitlines() if line.strip()]
    return f": {' / '.join(lines[-3:])[:1000]}" if lines else ""


def _more(paths: list[str]) -> str:
    return f" and {len(paths) - 5} more" if len(paths) > 5 else ""
