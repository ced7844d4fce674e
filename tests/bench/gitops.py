"""1,200 objects of 200 projects in one cluster: a plan that finds nothing to do, and applying them, against kubectl.

Whole processes on the same objects, from one file, on the same API server: the one that the variable of the
conformance suite names, else a sandbox. Both are asked to do the same: look at every object and say what differs, or
apply every object server-side and, for us, read it back. Every apply is into nothing: a cluster of its own on the
sandbox, namespaces of their own elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure, compared, faster, told
from tests.bench.flux_objects import PER_PROJECT, PREFIX, as_json, as_yaml, projects
from tests.bench.ground import BENCH, Ground
from tests.bench.measuring import BrokenError, Whole, cpu_of, run, take_turns
from tests.bench.peers import AbsentError
from tests.plugins.gitops_crds import FLUX, trimmed
from tests.projects.api_gate import ApiGate
from tests.sandbox.sandbox_server import Sandbox, write_kubeconfig

VARIABLE = "RECONCILER_CONFORMANCE_KUBECONFIG"
PROJECTS = 200
PLAN_ROUNDS = 5
APPLY_ROUNDS = 3
PLAN_WANTED = 8.0
APPLY_WANTED = 2.0


def figures() -> Iterator[Figure]:
    """The plan first, because afterwards the API server has more objects."""
    if shutil.which("kubectl") is None:
        raise AbsentError("kubectl is not installed")
    with _server() as server:
        yield from _plan(server)
        yield from _apply(server)
        if server.sandbox is not None:
            lists = [_lists(server, *one) for one in ((PROJECTS // 2, 1), (PROJECTS, 1), (PROJECTS, 2))]
            yield told("LISTs of a no-op plan, by objects and clusters", *lists)


@dataclass(slots=True)
class Server:
    """An API server. sandbox: None for one that is named by the variable."""

    root: Path
    sandbox: Sandbox | None
    used: list[str] = field(default_factory=list)

    def fresh(self) -> Arena:
        """A place on it where none of the objects is, with Flux' types."""
        number = len(self.used)
        prefix = PREFIX if self.sandbox is not None else f"{PREFIX}{os.getpid()}-{number}"
        self.used.append(prefix)
        if self.sandbox is not None:
            kubeconfig = write_kubeconfig(self.root / f"kubeconfig-{number}", self.sandbox.create(f"bench-{number}"))
        else:
            kubeconfig = Path(os.environ[VARIABLE])
        arena = Arena(Ground(f"gitops-{number}"), kubeconfig, prefix)
        arena.serve_types()
        arena.prepare()
        return arena

    def cpu(self) -> float:
        """Seconds of CPU that the sandbox has used; 0 for another server."""
        if self.sandbox is None or self.sandbox.process is None:
            return 0.0
        return cpu_of(self.sandbox.process.pid)


@dataclass(frozen=True, slots=True)
class Arena:
    """One home and one kubeconfig, with the same objects for both. name: of the cluster, in the home."""

    ground: Ground
    kubeconfig: Path
    prefix: str
    name: str = "bench"

    @property
    def objects(self) -> Path:
        """The file with all objects."""
        return self.ground.specs / "objects.txt"

    def serve_types(self) -> None:
        """Flux' types, in the cluster."""
        types = self.ground.root / "types.yaml"
        types.write_text("".join(f"---\n{json.dumps(one)}\n" for one in trimmed(*FLUX)))
        self.kubectl("apply", "--server-side", "-f", types)
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", types)

    def prepare(self, count: int = PROJECTS) -> None:
        """The objects of so many projects as a file, a document that wants them, and a store that is there already."""
        self.objects.write_text(as_json(projects(count, self.prefix)))
        spec = {
            "provider": "existing",
            "kubeconfig": {"path": str(self.kubeconfig)},
            "manifests": [self.objects.name],
        }
        document = {"apiVersion": "reconciler.dev/v1", "kind": "Cluster", "metadata": {"name": self.name}, "spec": spec}
        (self.ground.specs / f"{self.name}.yaml").write_text(json.dumps(document))
        self.ground.command("plan", self.ground.specs)

    def kubectl(self, *arguments: str | Path) -> Whole:
        """kubectl, to its end."""
        env = {**self.ground.environ, "KUBECONFIG": str(self.kubeconfig), "KUBECTL_EXTERNAL_DIFF": "diff -u -N"}
        return run(["kubectl", *arguments], env, self.ground.root)

    def plan(self) -> float:
        """Seconds of a plan that finds nothing to do."""
        whole = self.ground.command("plan", self.ground.specs, "--detailed-exitcode")
        return whole.wall

    def diff(self) -> float:
        """Seconds of kubectl's, which finds nothing either."""
        return self.kubectl("diff", "--server-side", "-f", self.objects).wall

    def apply(self) -> Whole:
        """Ours."""
        return self.ground.command("apply", self.ground.specs, "--yes")

    def apply_theirs(self) -> Whole:
        """kubectl's."""
        return self.kubectl("apply", "--server-side", "-f", self.objects)


@contextmanager
def _server() -> Iterator[Server]:
    root = BENCH / "gitops-server"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if os.environ.get(VARIABLE):
        yield Server(root, None)
        return
    sandbox = Sandbox(root / "home")
    sandbox.start()
    try:
        yield Server(root, sandbox)
    finally:
        sandbox.end()


def _plan(server: Server) -> Iterator[Figure]:
    arena = server.fresh()
    arena.apply()
    arena.apply_theirs()  # so that each owns the fields that it compares
    busy: dict[str, list[float]] = {"ours": [], "theirs": []}

    def timed(name: str, measure: partial[float]) -> float:
        before = server.cpu()
        seconds = measure()
        busy[name].append((server.cpu() - before) / seconds)
        return seconds

    contestants = {"ours": partial(arena.plan), "theirs": partial(arena.diff)}
    found = take_turns(PLAN_ROUNDS, {name: partial(timed, name, one) for name, one in contestants.items()})
    yield faster(
        f"no-op plan of {PROJECTS * PER_PROJECT:,} live objects against kubectl diff --server-side",
        *(found["ours"], found["theirs"], PLAN_WANTED, *_shares(server, busy)),
    )
    arena.objects.write_text(as_yaml(projects(PROJECTS, arena.prefix)))
    found = take_turns(PLAN_ROUNDS, contestants)
    yield compared("the same, of manifests that people wrote in YAML", found["ours"], found["theirs"])


def _apply(server: Server) -> Iterator[Figure]:
    busy: dict[str, list[float]] = {"ours": [], "theirs": []}

    def timed(name: str) -> float:
        arena = server.fresh()
        before = server.cpu()
        whole = arena.apply() if name == "ours" else arena.apply_theirs()
        busy[name].append((server.cpu() - before) / whole.wall)
        count = whole.out.count("serverside-applied")
        if name == "theirs" and count != PROJECTS * PER_PROJECT:
            raise BrokenError(f"kubectl applied {count} objects")
        if name == "ours":
            arena.plan()  # which fails unless nothing is left to do
        return whole.wall

    found = take_turns(APPLY_ROUNDS, {name: partial(timed, name) for name in busy})
    yield faster(
        f"applying {PROJECTS * PER_PROJECT:,} objects against kubectl apply --server-side",
        *(found["ours"], found["theirs"], APPLY_WANTED, *_shares(server, busy)),
    )
    yield told("objects a second", *(f"{PROJECTS * PER_PROJECT / found[name].median:.0f}" for name in found))


def _lists(server: Server, count: int, clusters: int) -> str:
    """How many LISTs, and requests in all, a plan makes that finds nothing to do: counted on the way to the server."""
    assert server.sandbox is not None
    ground, number = Ground(f"gitops-lists-{count}-{clusters}"), len(server.used)
    server.used.append("")
    with ExitStack() as stack:
        gates: list[ApiGate] = []
        for name in (f"lists-{number}-{one}" for one in range(clusters)):
            folder = server.root / name
            folder.mkdir()
            cluster = server.sandbox.create(name)
            Arena(ground, write_kubeconfig(folder / "straight", cluster), PREFIX).serve_types()
            gates.append(ApiGate(cluster))
            arena = Arena(ground, stack.enter_context(gates[-1].open(folder)), PREFIX, name)
            arena.prepare(count)
        arena.apply()
        for gate in gates:
            gate.forget()
        arena.plan()
        asked = [path for gate in gates for method, path in gate.passed if method == "GET"]
    lists = sum("limit=" in path and "continue=" not in path for path in asked)
    return f"{lists} ({len(asked)}) for {count * PER_PROJECT:,} in {clusters}"


def _shares(server: Server, busy: dict[str, list[float]]) -> tuple[str, ...]:
    """How busy the sandbox was meanwhile, which is one process."""
    if server.sandbox is None:
        return ()
    shares = {name: sum(found[1:]) / len(found[1:]) for name, found in busy.items()}
    return (f"the sandbox's one processor was busy for {shares['ours']:.0%} of ours, {shares['theirs']:.0%} of theirs",)
