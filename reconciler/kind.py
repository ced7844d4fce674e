"""What a kind provides and what it is given. A kind is one folder under `kinds/`; adding one edits nothing elsewhere.

The engine calls the pure parts (`references`, `target`, `normalize`, `steps`) while it plans, `observe` while it looks,
and a step's functions while it executes. A kind reaches the world only through its `Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from reconciler.model.finding import Finding
from reconciler.model.observation import Observation
from reconciler.model.plan import Change, Preview
from reconciler.model.resource import Resource, ResourceRef, State
from reconciler.model.secret import Secret

if TYPE_CHECKING:
    from reconciler.transports.git_access import RemoteAccess
    from reconciler.transports.git_remote import GitRemote
    from reconciler.transports.http import Http
    from reconciler.transports.http_access import HttpAccess
    from reconciler.transports.kube import KubeTransport
    from reconciler.transports.process import Completed
    from reconciler.transports.ssh import Ssh, SshPlace

CheckAnswer = Literal["done", "not_done", "unknown"]
Outputs = Mapping[str, Any]
Wanted = Literal["present", "stopped", "absent"]
Recovery = Literal["replan", "continue"]
"""What becomes of a change whose process died: closed, and planned anew; or gone on with at the step that was open."""


@dataclass(frozen=True, slots=True)
class KnownCluster:
    """A recorded cluster, as kinds that work in clusters need it.

    labels: of its document. kubeconfig, context: what reaches it. server: URL of its API. state: as last recorded.
    is_wanted: False once it is to be deleted. was_verified: it was seen to work at least once since it was made.
    server_ip, node_port, http_port: where it can be reached from outside; "" and None while nobody knows.
    """

    name: str
    kubeconfig: Path
    context: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    provider: str = ""
    environment: str = ""
    server: str = ""
    state: str = ""
    is_wanted: bool = True
    was_verified: bool = False
    server_ip: str = ""
    node_port: int | None = None
    http_port: int | None = None


def managing_clusters(clusters: Mapping[str, KnownCluster]) -> list[str]:
    """The names of those that manage the others and are to stay, sorted."""
    return sorted(name for name, one in clusters.items() if one.role == "management" and one.is_wanted)


MANAGING = ""
"""In a `Watch`: whichever clusters manage the others, for who cannot know them by name."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A live type that a kind wants to be told about. cluster: its recorded name, or MANAGING."""

    cluster: str
    api_version: str
    kind: str


class ProcessTransport(Protocol):
    """How a kind runs an external command."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Completed:
        """Run `argv` (never a shell) in a process group of its own and wait.

        timeout: seconds, then the whole group is killed and DeadlineError raised. The environment is a short fixed list
        (PATH, HOME, LANG …) and `env`. private: what it prints is secret, so it is returned and neither logged nor
        quoted. A missing program raises TerminalError. A non-zero exit is returned, not raised.
        """
        ...


class Records(Protocol):
    """A kind's own tables, by table name. Writes are bound to the lease: whoever lost it gets LeaseLostError.

    Values are as the database stores them: numbers, texts, bytes and None.
    """

    def transaction(self) -> AbstractContextManager[Records]:
        """Everything inside is written together or not at all; other writers wait."""
        ...

    def get(self, table: str, **key: Any) -> dict[str, Any] | None:
        """The one row with these column values, or None."""
        ...

    def list(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """All rows with these column values, in primary key order."""
        ...

    def put(self, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Insert the row `key` + `values`, or change just `values` of the row with this unique key."""
        ...

    def delete(self, table: str, **key: Any) -> None:
        """Delete the rows with these column values."""
        ...

    def allocate(self, table: str, column: str, candidates: Iterable[int], **scope: Any) -> int:
        """The first candidate that no row (with the column values of `scope`) holds in `column`.

        Call it inside `transaction()` and `put` the row there. Raises TerminalError("Exhausted") when none is left.
        """
        ...


class Context(Protocol):
    """What a kind is given: one object a call of `observe`, one a change for its steps.

    resource: the one being changed (None in `observe`). change: likewise. outputs: what earlier steps of this change
    returned, by step name, also those that ran before a crash. deadline: seconds that this call may take in all.
    """

    resource: Resource | None
    change: Change | None
    outputs: Mapping[str, Outputs]
    deadline: float

    @property
    def home(self) -> Path:
        """The reconciler's own folder, mode 0700."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """The kind's own section of the settings."""
        ...

    @property
    def process(self) -> ProcessTransport:
        """External commands."""
        ...

    @property
    def records(self) -> Records:
        """The kind's own tables; read-only in `observe`."""
        ...

    def kube(self, kubeconfig: Path, context: str = "") -> KubeTransport:
        """A Kubernetes API, through a checked kubeconfig. Imports the client only here."""
        ...

    def clusters(self) -> Mapping[str, KnownCluster]:
        """Every recorded cluster by name, whichever kind records it."""
        ...

    def cluster(self, name: str) -> KubeTransport:
        """The API of a recorded cluster. Raises TransientError("NoSuchCluster") when none of this name is recorded."""
        ...

    def git(self, url: str, access: RemoteAccess) -> GitRemote:
        """A repository on a git server, read and written without a checkout. Raises SpecError for a bad address."""
        ...

    def http(self, base: str, access: HttpAccess) -> Http:
        """A REST API below an address. Raises SpecError for a bad address or token."""
        ...

    def ssh(self, place: SshPlace) -> Ssh:
        """A host over SSH, on one connection a place that is kept; nobody has to close it.

        Trusted are the host keys of the place, and where it has none those of HOME/known_hosts. What waits for the host
        ends when nothing more may be done, as with `process`. Raises UsageError for known hosts that cannot be read.
        """
        ...

    def digest_of(self, secret: Secret) -> str:
        """The keyed digest under which this home knows a secret."""
        ...

    def secret(self, origin: str) -> Secret:
        """A secret read again where it came from (`Secret.origin`), for what outlives its document.

        Raises SpecError when it is not there any more, or when the settings do not allow reading it.
        """
        ...

    def progress(self, percent: float, message: str = "") -> None:
        """How far the running step is, 0 to 100; never falls."""
        ...

    def log(self, text: str) -> None:
        """Add to the running step's log."""
        ...

    def alarm(self, reason: str, message: str) -> None:
        """Raise an alarm for the resource: an event that people must see."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, but end at once (LeaseLostError, or WaitingError at a shutdown) when nothing more may be done."""
        ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One named step of a change: a line of the kind's table of contents.

    weight: share of the change's progress; the weights of a change are summed and scaled. preview: what the plan may
    promise. run returns JSON outputs, journalled with the outcome. check answers, for a step that was open when its
    process died, whether it had been carried out. undo reverts it. safe_point: a newer generation may take
    over before it. command: the external command that it is about, as a plan shows it. independent: when it fails, the
    change has failed, but independent steps right after it are tried all the same. undo_partial: its `undo` also takes
    back what a run of it that failed has left. commits: once it is done, nothing up to it is taken back any more. No
    step may rely on having run only once.
    """

    name: str
    title: str
    run: Callable[[Context], Outputs | None]
    weight: int = 1
    preview: Preview = "exact"
    check: Callable[[Context], CheckAnswer] | None = None
    undo: Callable[[Context], Outputs | None] | None = None
    safe_point: bool = True
    command: str = ""
    independent: bool = False
    undo_partial: bool = False
    commits: bool = False


class Kind(Protocol):
    """A kind of resource.

    name: CamelCase noun, the `kind:` of documents. schema: JSON Schema (draft 2020-12) of `spec`, every property with a
    description; `x-immutable` (true, or the values of other fields with which it is so), `x-secret` and `x-file` mark
    fields. recovery: what happens to a change whose process died, or that had to wait. steps_version: raised when the
    meaning of a step changes, so that older plan files refuse.
    """

    @property
    def name(self) -> str:
        """CamelCase noun."""
        ...

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema of `spec`."""
        ...

    @property
    def recovery(self) -> Recovery:
        """What happens to an interrupted change."""
        ...

    @property
    def steps_version(self) -> int:
        """Raised when the meaning of a step changes."""
        ...

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """What this resource needs first, beside `lifecycle.dependsOn`. Pure."""
        ...

    def target(self, resource: Resource) -> str:
        """The system it talks to, e.g. `sandbox` or `host/db1`: the unit of grouping and limits. Pure."""
        ...

    def normalize(self, resource: Resource) -> State:
        """The desired state in the shape that `observe` reports. Pure."""
        ...

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at resources of one target, in as few calls as possible. Reads only.

        Every resource gets an answer; what could not be looked at is unknown with its reason, never absent.
        """
        ...

    def steps(self, change: Change) -> Sequence[Step]:
        """The steps of a change, in order. Pure: the same change gives the same steps."""
        ...


@runtime_checkable
class KeepsWishes(Protocol):
    """What a kind may have beside `Kind`, when its own records say what is wanted where no document does.

    A document that names the same resource wins; what its own records want has `model.resource.RECORD_OWNER` as owner.
    """

    def recorded(self, records: Records) -> Iterable[Mapping[str, Any]]:
        """A document for each resource that only its record wants, one that is wanted to be absent included. Reads."""
        ...

    def want(self, records: Records, name: str, state: Wanted) -> None:
        """Note in the record of such a resource what is wanted of it from now on. Raises BlockedError if it may not."""
        ...


@runtime_checkable
class TellsFacts(Protocol):
    """What a kind may have whose records say more of a resource than its spec and its status do."""

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """By name, what the records say of each resource for people: words and plain values. Reads."""
        ...


@runtime_checkable
class KeepsSeen(Protocol):
    """What a kind may have that keeps what was seen of a resource in records of its own."""

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """Write what a look showed, with what the observation has as `facts`.

        Called whenever the outcome of a look is stored, in the same transaction; never by a dry run. It has to write
        only what differs: it is called for every look.
        """
        ...


@runtime_checkable
class RecordsClusters(Protocol):
    """What the kind has whose resources are clusters that other kinds work in."""

    def clusters(self, records: Records, home: Path) -> Mapping[str, KnownCluster]:
        """Every recorded cluster by name, without its labels. Reads."""
        ...


@runtime_checkable
class Follows(Protocol):
    """What a kind may have whose desired state is made of what other kinds have recorded.

    Such a resource is planned and carried out after those that it follows; whether there is anything to do for it is
    decided then. One of those that fails holds it up as little as one that is not there.
    """

    def follows(self, resource: Resource) -> Sequence[str]:
        """The names of the kinds. Pure."""
        ...


@runtime_checkable
class Claims(Protocol):
    """What a kind may have whose resources ask for things of which there is just one, such as a port of this host."""

    def claims(self, resource: Resource) -> Mapping[str, str]:
        """Each such thing, and what becomes of this resource when another one has it first. Words for people. Pure.

        Things are told apart by their words; a plan says of which ones two of its new resources ask for the same.
        """
        ...


@runtime_checkable
class Checks(Protocol):
    """What a kind may have that can tell whether all is there that its resources need, for `reconciler doctor`."""

    def checks(self, resource: Resource, context: Context) -> Sequence[Finding]:
        """What is as the resource needs it and what is not, with what to do. Reads only.

        What could not be looked at is a finding as well. Errors that it raises are told as they are.
        """
        ...


@runtime_checkable
class WatchesLive(Protocol):
    """What a kind may have that is to look at once when something live has changed, not at its next interval."""

    def watches(self, resource: Resource) -> Sequence[Watch]:
        """Live types whose objects carry `model.marks.ownership_labels` of their resources. Pure."""
        ...
