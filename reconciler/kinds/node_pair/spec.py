"""The `spec` of a node pair as values with types and defaults. Called by everything in this kind that reads one. Pure.

A spec may be in its stored form (a secret as its digest, a file as path and digest) when its document is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from reconciler.errors import SpecError
from reconciler.model.duration import parse_duration
from reconciler.model.resource import Resource
from reconciler.model.secret import Secret, SpecFile
from reconciler.transports.ssh import SshPlace
from reconciler.transports.ssh_trust import KnownHost, host_name

Role = Literal["master", "backup"]
ROLES: tuple[Role, Role] = ("master", "backup")
Lock = Literal["immutable", "readonly", "none"]
_COMMAND_TIMEOUT = "10m"


@dataclass(frozen=True, slots=True)
class Command:
    """What is run on a node. scripts: for /bin/sh, each of which has to succeed before the next. timeout: seconds, for
    all of them. repeatable: running it twice does no harm."""

    name: str
    scripts: tuple[str, ...]
    repeatable: bool = False
    timeout: float = 600.0

    def __str__(self) -> str:
        return " && ".join(self.scripts)

    @property
    def script(self) -> str:
        """All of it as one script, which ends with the status of the first that fails."""
        if len(self.scripts) == 1:
            return self.scripts[0]
        return "".join(f"(\n{one}\n) || exit $?\n" for one in self.scripts)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One of the two nodes. place: how to log in; without known hosts where only the home knows them."""

    role: Role
    place: SshPlace
    become: Literal["sudo", "none"] = "none"

    @property
    def address(self) -> str:
        """What it is reached by, and what the other node knows it by."""
        return self.place.address


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file for both nodes. source: here. sha256: 64 hexadecimal digits."""

    source: Path
    destination: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a path is to hold: either content (a Secret, or its stored form), or what the node has at `file`."""

    content: Any = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class ConfigurationSpec:
    """The configuration. lock_expiry: seconds."""

    paths: tuple[str, ...]
    new: Mapping[str, NewFile]
    lock: Lock
    lock_expiry: float
    backup_directory: str


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """One synchronization, run on the backup: either command (and dry_run, ""), or module and paths."""

    command: str = ""
    dry_run: str = ""
    module: str = ""
    paths: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RsyncSpec:
    """The rsync between the nodes. start, stop, status: for control `command`. ports: by role. Times in seconds.

    resume_tries: how often starting it is tried in all.
    """

    control: Literal["systemd", "sysv", "command"]
    unit: str
    start: str
    stop: str
    status: str
    timers: tuple[str, ...]
    ports: Mapping[Role, int]
    interval: float
    monitor: float
    sync: SyncSpec | None
    max_delete: int
    timeout: float
    resume_tries: int


@dataclass(frozen=True, slots=True)
class NodePairSpec:
    """A desired pair. Times in seconds. configuration, rsync, artifact: None where there is none."""

    name: str
    nodes: Mapping[Role, NodeSpec]
    version: str
    allow_downgrade: bool
    artifact: Artifact | None
    commands: Mapping[str, Command]
    serving: Command | None
    order: tuple[Role, Role]
    verify_retries: int
    verify_delay: float
    verify_soak: float
    configuration: ConfigurationSpec | None
    rsync: RsyncSpec | None
    reconnect: float
    max_clock_skew: float
    min_disk_space: int

    @classmethod
    def of(cls, resource: Resource) -> NodePairSpec:
        """From a document that passed the schema, or from the stored form of one. Raises SpecError."""
        spec = resource.spec
        verify = spec.get("verify", {})
        commands = {name: _command(name, one) for name, one in spec["commands"].items()}
        order: tuple[Role, Role] = ROLES if spec.get("order") == "master-first" else ("backup", "master")
        made = cls(
            name=resource.ref.name,
            nodes={role: _node(role, spec[role]) for role in ROLES},
            version=spec["version"],
            allow_downgrade=spec.get("allowDowngrade", False),
            artifact=_artifact(spec.get("artifact"), resource.source.owner),
            commands=commands,
            serving=_command("serving", spec["serving"]) if "serving" in spec else None,
            order=order,
            verify_retries=verify.get("retries", 5),
            verify_delay=parse_duration(verify.get("delay", "2s")),
            verify_soak=parse_duration(verify.get("soak", "0s")),
            configuration=_configuration(spec.get("configuration")),
            rsync=_rsync(spec.get("rsync")),
            reconnect=parse_duration(spec.get("reconnect", "60s")),
            max_clock_skew=parse_duration(spec.get("maxClockSkew", "30s")),
            min_disk_space=spec.get("minDiskSpace", 50),
        )
        _check(made)
        return made

    def environment(self, role: Role, version: str, serving: str = "") -> dict[str, str]:
        """What a command finds in its environment. serving: the role of the node that is taken to be serving."""
        return {
            "VERSION": version,
            "ROLE": role,
            "PEER": self.nodes[other(role)].address,
            "ARTIFACT": self.artifact.destination if self.artifact is not None else "",
            "SERVING": serving,
        }


def other(role: Role) -> Role:
    """The other node's role."""
    return "backup" if role == "master" else "master"


def _node(role: Role, spec: Mapping[str, Any]) -> NodeSpec:
    return NodeSpec(role, _place(spec, role), spec.get("become", "none"))


def _place(spec: Mapping[str, Any], where: str) -> SshPlace:
    address, port, identity = spec["address"], spec.get("port", 22), spec.get("identity")
    return SshPlace(
        address,
        port,
        spec.get("user", "root"),
        identity if isinstance(identity, Secret) else None,
        _known(spec, host_name(address, port), where),
        parse_duration(spec.get("connectTimeout", "10s")),
        _place(spec["jump"], f"{where}.jump") if "jump" in spec else None,
    )


def _known(spec: Mapping[str, Any], name: str, where: str) -> tuple[KnownHost, ...]:
    if "hostKey" in spec:
        return (KnownHost(f"{name} {spec['hostKey']}", f"{where}.hostKey"),)
    file = spec.get("knownHosts")
    if not isinstance(file, SpecFile):
        return ()
    return tuple(KnownHost(line, f"{file.path}:{number}") for number, line in enumerate(file.text.splitlines(), 1))


def _command(name: str, given: Any) -> Command:
    spec = given if isinstance(given, Mapping) else {"run": given}
    run = spec["run"]
    scripts = (run,) if isinstance(run, str) else tuple(run)
    return Command(name, scripts, spec.get("repeatable", False), parse_duration(spec.get("timeout", _COMMAND_TIMEOUT)))


def _artifact(spec: Mapping[str, Any] | None, owner: str) -> Artifact | None:
    if spec is None:
        return None
    folder = Path(owner.removeprefix("file:")).parent if owner.startswith("file:") else Path()
    return Artifact(folder / Path(spec["source"]).expanduser(), spec["destination"], spec["sha256"])


def _configuration(spec: Mapping[str, Any] | None) -> ConfigurationSpec | None:
    if spec is None:
        return None
    new = {path: NewFile(one.get("content"), one.get("file", "")) for path, one in spec.get("new", {}).items()}
    return ConfigurationSpec(
        tuple(spec["paths"]),
        new,
        spec.get("lock", "immutable"),
        parse_duration(spec.get("lockExpiry", "2h")),
        spec.get("backupDirectory", "/var/lib/reconciler-node/backups"),
    )


def _rsync(spec: Mapping[str, Any] | None) -> RsyncSpec | None:
    if spec is None:
        return None
    commands, port, sync = spec.get("commands", {}), spec.get("port", 873), spec.get("sync")
    return RsyncSpec(
        control=spec.get("control", "systemd"),
        unit=spec.get("unit", "rsync"),
        start=commands.get("start", ""),
        stop=commands.get("stop", ""),
        status=commands.get("status", ""),
        timers=tuple(spec.get("timers", ())),
        ports={"master": port, "backup": spec.get("backupPort", port)},
        interval=parse_duration(spec.get("interval", "300s")),
        monitor=parse_duration(spec.get("monitor", "15s")),
        sync=None if sync is None else _sync(sync),
        max_delete=spec.get("maxDelete", 10),
        timeout=parse_duration(spec.get("timeout", "120s")),
        resume_tries=max(1, spec.get("resumeRetries", 3)),
    )


def _sync(spec: Mapping[str, Any]) -> SyncSpec:
    return SyncSpec(spec.get("command", ""), spec.get("dryRun", ""), spec.get("module", ""), spec.get("paths"))


def _check(spec: NodePairSpec) -> None:
    """What the schema cannot say. Raises SpecError naming the field."""
    master, backup = (spec.nodes[role].place for role in ROLES)
    if (master.address, master.port) == (backup.address, backup.port):
        raise SpecError("SameNode", f"master and backup are both {master.address}:{master.port}")
    switched = [name for name in ("switchover", "switchback") if name in spec.commands]
    if len(switched) == 1:
        raise SpecError("OneWay", f"commands.{switched[0]}: there is no way back without the other of the two")
    if switched and spec.serving is None:
        raise SpecError("NoServing", "serving is needed to switch over: else nobody can tell which node serves")
    if spec.rsync is not None and spec.rsync.control == "command" and not spec.rsync.start:
        raise SpecError("NoCommands", "rsync.commands is needed with control: command")
    if spec.configuration is not None:
        _check_new(spec.configuration)


def _check_new(configuration: ConfigurationSpec) -> None:
    roots = [PurePosixPath(path) for path in configuration.paths]
    for path in configuration.new:
        if ".." in PurePosixPath(path).parts or not any(PurePosixPath(path).is_relative_to(root) for root in roots):
            raise SpecError("Outside", f"configuration.new: {path} is not below one of configuration.paths")
