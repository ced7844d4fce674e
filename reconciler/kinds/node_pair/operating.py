"""What a person does with the rsync of a pair, beside any upgrade. Called by `reconciler rsync`, under its lease.

Nothing here is done while an upgrade is under way: that has rsync in hand. A pair that waits for a person goes on by
`resolve` alone, which makes one side win, sees that both have the same, and lets rsync run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from reconciler.errors import BlockedError, ReconcilerError, TerminalError, UnreachableError, WaitingError
from reconciler.kind import Context
from reconciler.kinds.node_pair.nodes.configuration import Configuration
from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pause_marks import Pause
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl
from reconciler.kinds.node_pair.nodes.rsync_seen import RsyncSeen
from reconciler.kinds.node_pair.rows import PairRows, Standing
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec, Role, RsyncSpec, other
from reconciler.kinds.node_pair.states import Event, PairState, is_upgrading
from reconciler.kinds.node_pair.syncing import Preview, Synced, conflict_between, differing, preview, synchronize
from reconciler.model.resource import Resource

Json = dict[str, Any]
Sums = Mapping[Role, Mapping[str, str]]
Tell = Callable[[Literal["normal", "alarm"], str, str], None]
"""Called with what is to be kept as an event: its type, reason and message."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who does it. tell: keeps what was done as an event. log: takes what people may read meanwhile."""

    name: str
    tell: Tell
    log: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Operating:
    """One pair in the hands of a person. No node is connected to before it is needed."""

    context: Context
    spec: NodePairSpec
    nodes: Mapping[Role, Node]
    rows: PairRows
    operator: Operator

    @classmethod
    def of(cls, resource: Resource, context: Context, operator: Operator) -> Operating:
        """The pair of a document. Raises SpecError."""
        spec = NodePairSpec.of(resource)
        nodes = {
            role: Node(spec.nodes[role], context.ssh(spec.nodes[role].place), sleep=context.sleep, log=operator.log)
            for role in ROLES
        }
        return cls(context, spec, nodes, PairRows(context.records, spec.name, context.now), operator)

    def status(self) -> Json:
        """What the rows say (see `showing.status`), with rsync as it is now; UNKNOWN where nobody could look.

        Writes nothing.
        """
        told = dict(self.rows.status()) or self._unrecorded()
        nodes = {role: dict(told["nodes"][role]) for role in ROLES}
        if self.spec.rsync is not None:
            with ThreadPoolExecutor(len(ROLES), thread_name_prefix="pair") as pool:
                looked = pool.map(lambda role: self._looked(role, nodes[role]["rsync"] or {}), ROLES)
            for role, seen in zip(ROLES, looked, strict=True):
                nodes[role]["rsync"] = seen
        return {**told, "nodes": nodes}

    def pause(self) -> Json:
        """Pause rsync by hand, on both nodes. It stays so over a reboot, and over upgrades.

        Raises BlockedError, TerminalError("NoRsync"), and TerminalError("PauseFailed") for the first node that fails.
        """
        self._refuse_while_upgrading()
        rsync, pause = self._rsync(), Pause("MANUAL", self.operator.name, self.context.now())
        with _unreachable():
            there = {role: self._control(role, rsync).look() for role in ROLES}
            if not any(one.exists or one.timers for one in there.values()):
                raise TerminalError("NoRsync", f"there is no rsync to pause on either node: {there['master'].detail}")
            failed: list[ReconcilerError] = []
            for role in (role for role in ROLES if there[role].exists or there[role].timers):
                try:
                    self._control(role, rsync).pause(pause)
                except TerminalError as error:  # the other node is to be paused all the same
                    failed.append(error)
            reason, how = ("RsyncNotPaused", "not everywhere") if failed else ("RsyncPaused", "on both nodes")
            told = self._noted(reason, f"rsync was paused by {self.operator.name}, {how}")
            if failed:
                raise failed[0]
            return told

    def resume(self) -> Json:
        """Let rsync run again on both nodes, whoever paused it. Raises BlockedError, TerminalError("ResumeFailed")."""
        self._refuse_while_upgrading()
        if self.rows.state() is PairState.WAIT_MANUAL:
            message = (
                f"{self.spec.name} waits for a person: {self.rows.wait_reason()}; say which side is right: "
                f"reconciler rsync resolve {self.spec.name} --keep master|backup"
            )
            raise BlockedError("WaitsForPerson", message)
        with _unreachable():
            self._start(ROLES)
            return self._noted("RsyncResumed", f"rsync was resumed by {self.operator.name}")

    def synchronize(self) -> Json:
        """One synchronization now, from the master to the backup: `{sync, different}`, different: paths, sorted.

        What it would do was shown before: see `preview`. Raises BlockedError, TerminalError("NoSync").
        """
        self.check_synchronizes()
        with _unreachable():
            synced = self._synchronized("master")
            different = self._different()
        self._settle(synced, different)
        return {"sync": self.rows.history(1)[0], "different": different}

    def check_synchronizes(self) -> str:
        """Raises what `synchronize` raises before it does anything. Why the backup's changes would be lost, or ""."""
        self._refuse_while_upgrading()
        if self._rsync().sync is None:
            raise TerminalError("NoSync", f"rsync.sync of {self.spec.name} does not say how a synchronization is run")
        if self.rows.state() is PairState.WAIT_MANUAL:
            hint = f"reconciler rsync resolve {self.spec.name} --keep master|backup"
            raise BlockedError("WaitsForPerson", f"{self.spec.name} waits for a person; synchronize by: {hint}")
        with _unreachable():
            return conflict_between(self.rows.baseline(), self._sums())

    def preview(self) -> Preview:
        """What a synchronization would do now; changes nothing."""
        with _unreachable():
            return preview(self.nodes, self.spec, log=_nothing)

    def resolve(self, keep: Role, *, already_copied: bool = False) -> Json:
        """Make one side win, and go on: `{kept, sync, state}`, sync: None where both had the same.

        Locks are released first; rsync runs again once both have the same, and else is as it was before.
        already_copied: nothing is synchronized, only compared. Raises BlockedError, and TerminalError("StillDifferent")
        or TerminalError("CopyByHand").
        """
        if self.rows.state() is not PairState.WAIT_MANUAL:
            raise BlockedError("NotWaiting", f"{self.spec.name} does not wait for a person: nothing is to be resolved")
        self._refuse_while_upgrading()
        with _unreachable():
            different = self._different()
            self._unlock()
            synced = self._made_alike(keep, different) if different and not already_copied else None
            different = self._different()
            if different:
                raise TerminalError("StillDifferent", f"both nodes still differ in {_listed(different)}")
            self._start(ROLES)
            self._noted("PairResolved", f"{self.operator.name} kept the configuration of the {keep}")
        self._keep_baseline()
        state = self.rows.move(Event.RESOLVED, f"{self.operator.name} kept the {keep}")
        return {"kept": keep, "sync": self.rows.history(1)[0] if synced is not None else None, "state": state.value}

    def _refuse_while_upgrading(self) -> None:
        upgrade, state = self.rows.open_upgrade(), self.rows.state()
        if upgrade is None and not is_upgrading(state):
            return
        what = (
            f"the upgrade to {upgrade['version']} (run {upgrade['identity']})" if upgrade else f"an upgrade ({state})"
        )
        message = f"{what} of {self.spec.name} is under way and has rsync in hand; let it end first: reconciler apply"
        raise BlockedError("Upgrading", message)

    def _rsync(self) -> RsyncSpec:
        if self.spec.rsync is None:
            raise TerminalError("NoRsync", f"the document of {self.spec.name} names no rsync")
        return self.spec.rsync

    def _control(self, role: Role, rsync: RsyncSpec) -> RsyncControl:
        return RsyncControl(self.nodes[role], rsync, self.spec.name)

    def _looked(self, role: Role, before: Json) -> Json:
        """How rsync is on a node now, as `status` tells it. before: as it was recorded last."""
        try:
            seen = self._control(role, self._rsync()).look()
        except ReconcilerError as error:
            return {"status": "UNKNOWN", **_known(before), "checkedAt": self.context.now(), "detail": error.message}
        told = {"status": seen.status, **_known(before), "checkedAt": self.context.now(), "detail": seen.detail}
        if seen.pause is None:
            return {**told, "paused": False}
        return {**told, "paused": True, "reason": seen.pause.reason, "pauseTime": seen.pause.at, "resumeTime": None}

    def _unrecorded(self) -> Json:
        """The status of a pair that was never looked at."""
        nodes: dict[str, Json] = {
            role: {
                "address": self.spec.nodes[role].address,
                "version": "",
                "serving": None,
                "locked": [],
                "error": "",
                "rsync": None,
            }
            for role in ROLES
        }
        interval = self.spec.rsync.interval if self.spec.rsync is not None else None
        return {"pair": self.spec.name, "state": "", "stateName": "never looked at", "waitReason": "", "todo": []} | {
            "interval": interval,
            "lastSyncTime": None,
            "lookedAt": None,
            "nodes": nodes,
            "lastSync": None,
            "upgrade": None,
        }

    def _start(self, roles: Sequence[Role]) -> None:
        """Take back every pause; on the master the daemon runs then, on the backup what ran before."""
        rsync = self.spec.rsync
        for role in roles if rsync is not None else ():
            assert rsync is not None
            control = self._control(role, rsync)
            if role == "backup" and not _is_there(control.look()):
                continue
            try:
                control.resume("MANUAL")
            except BlockedError as error:
                if error.reason != "PausedByUpgrade":
                    raise
                control.resume("UPGRADE")

    def _noted(self, reason: str, message: str) -> Json:
        """Look again, record it, and keep that it was done; as `status` tells it."""
        self.rows.ensure(self.spec)
        before = self.rows.status()["nodes"]
        for role in ROLES if self.spec.rsync is not None else ():
            seen = self._control(role, self._rsync()).look()
            standing = _standing(seen, before[role]["rsync"] or {}, self.context.now())
            self.rows.note_rsync(role, self.nodes[role].address, seen.status, **standing)
        self.operator.tell("normal", reason, message)
        return dict(self.rows.status())

    def _synchronized(self, source: Role) -> Synced:
        """One synchronization from this node to the other, recorded."""
        spec = self.spec if source == "master" else _turned(self.spec)
        nodes = self.nodes if source == "master" else _swapped(self.nodes, spec)
        synced = synchronize(nodes, spec, log=self.operator.log, alarm=self._alarm)
        addresses = (self.nodes[source].address, self.nodes[other(source)].address)
        self.rows.ensure(self.spec)
        self.rows.note_sync(None, addresses, synced)
        return synced

    def _settle(self, synced: Synced, different: list[str]) -> None:
        """Keep what a synchronization by hand led to."""
        if synced.status == "SUCCESS" and not different:
            self._keep_baseline()
        told = f"{self.operator.name} synchronized {self.spec.name}: {synced.status}"
        self.operator.tell("normal", "Synchronized", f"{told}, {synced.error}" if synced.error else told)
        if different:
            self._alarm("NotAlike", f"both nodes differ after a synchronization: {_listed(different)}")

    def _alarm(self, reason: str, message: str) -> None:
        self.operator.tell("alarm", reason, message)

    def _made_alike(self, keep: Role, different: list[str]) -> Synced:
        """Carry the configuration of one side to the other. What was started for it is stopped again if that fails."""
        rsync = self._rsync()
        if rsync.sync is None or (keep == "backup" and not rsync.sync.module):
            raise TerminalError(
                "CopyByHand", self._by_hand(keep, different, "nothing says how to synchronize that way")
            )
        if keep == "backup" and self._control("master", rsync).look().status == "RUNNING":
            message = f"rsync runs on the master and may overwrite the backup: reconciler rsync pause {self.spec.name}"
            raise BlockedError("RsyncRuns", message)
        with self._running_on(keep, rsync):
            synced = self._synchronized(keep)
            if synced.status != "SUCCESS":
                why = f"synchronizing from the {keep}: {synced.status}: {synced.error}"
                raise TerminalError("CopyByHand", self._by_hand(keep, different, why))
            if still := self._different():
                raise TerminalError("StillDifferent", f"both nodes still differ in {_listed(still)}")
        return synced

    @contextmanager
    def _running_on(self, role: Role, rsync: RsyncSpec) -> Iterator[None]:
        """Let rsync run on a node; what was stopped is paused again if what is done meanwhile fails."""
        before = self._control(role, rsync).look()
        pause = before.pause or Pause("UPGRADE", self.operator.name, self.context.now())
        try:
            if before.status == "STOPPED":
                self._start([role])
            yield
        except ReconcilerError:
            if before.status == "STOPPED":
                self._pause_again(role, rsync, pause)
            raise

    def _pause_again(self, role: Role, rsync: RsyncSpec, pause: Pause) -> None:
        try:
            self._control(role, rsync).pause(pause)
        except ReconcilerError as error:
            self._alarm(error.reason, f"rsync was started to resolve {self.spec.name}, and does not stop: {error}")

    def _by_hand(self, keep: Role, different: list[str], why: str) -> str:
        source, target = self.nodes[keep].address, self.nodes[other(keep)].address
        return (
            f"{why}; copy {_listed(different)} from {source} to {target} by hand (it is unlocked now), then: "
            f"reconciler rsync resolve {self.spec.name} --keep {keep} --already-copied"
        )

    def _unlock(self) -> None:
        configuration = self.spec.configuration
        for role in ROLES if configuration is not None else ():
            assert configuration is not None
            ConfigurationLock(self.nodes[role], configuration, self.spec.name).release()

    def _sums(self) -> Sums:
        configuration = self.spec.configuration
        if configuration is None:
            return {}
        return {role: Configuration(self.nodes[role], configuration, self.spec.name).sums() for role in ROLES}

    def _different(self) -> list[str]:
        """Paths in which both nodes differ."""
        sums = self._sums()
        return differing(sums["master"], sums["backup"]) if sums else []

    def _keep_baseline(self) -> None:
        if sums := self._sums():
            self.rows.keep_baseline(sums)


def _nothing(_text: str) -> None:
    """The preview itself is what is shown."""


def _turned(spec: NodePairSpec) -> NodePairSpec:
    """The spec of the pair with its sides changed: then what is fetched comes from the backup's daemon."""
    assert spec.rsync is not None
    ports = {role: spec.rsync.ports[other(role)] for role in ROLES}
    nodes = {role: replace(spec.nodes[other(role)], role=role) for role in ROLES}
    return replace(spec, nodes=nodes, rsync=replace(spec.rsync, ports=ports))


def _swapped(nodes: Mapping[Role, Node], spec: NodePairSpec) -> dict[Role, Node]:
    """The nodes in the roles that a turned spec gives them."""
    return {role: replace(nodes[other(role)], spec=spec.nodes[role]) for role in ROLES}


def _standing(seen: RsyncSeen, before: Json, now: float) -> Standing:
    """What is recorded of a node. before: what was recorded last."""
    if seen.pause is not None:
        at, reason = seen.pause.at, seen.pause.reason
        return Standing(paused=True, pause_time=at, resume_time=None, reason=reason, detail=seen.detail)
    resumed = now if before.get("paused") else before.get("resumeTime")
    return Standing(
        paused=False, pause_time=before.get("pauseTime"), resume_time=resumed, reason=None, detail=seen.detail
    )


def _known(before: Json) -> Json:
    """What was recorded of a pause last, or that nothing was."""
    usual: Json = {"paused": False, "reason": None, "pauseTime": None, "resumeTime": None}
    return {name: before.get(name, value) for name, value in usual.items()}


def _is_there(seen: RsyncSeen) -> bool:
    return seen.exists or bool(seen.timers) or seen.pause is not None


def _listed(paths: Sequence[str], most: int = 10) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more


@contextmanager
def _unreachable() -> Iterator[None]:
    """A node that does not answer is an error here: nobody comes again by himself."""
    try:
        yield
    except WaitingError as error:
        raise UnreachableError(error.reason, error.message) from error
