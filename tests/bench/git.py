"""From `git fetch` to a plan: a repository of 10,000 resources in which one was changed.

Ours is what a daemon does, in one process that goes on: fetch the branch, load what is new, record it, and plan what
changed. Beside it stand git's own fetch of as much into a bare repository, which nobody can do without, and loading
everything anew from a mirror that has it all, which is what each commit would cost without signatures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from reconciler.engine.dry_run import PlanRules
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.wiring import open_runtime, open_workspace
from reconciler.loading.git_source import GitSource
from reconciler.loading.settings import load_settings
from reconciler.transports.git_place import GitPlace
from tests.bench.figures import Figure, faster, told
from tests.bench.figures import seconds as shown
from tests.bench.ground import ROOT, Ground
from tests.bench.measuring import BrokenError, run, take_turns

COUNT = 10_000
ROUNDS = 7
PER_FILE = 10
WANTED = 5.0


def figures() -> Iterator[Figure]:
    """What a changed document costs, against the fetch alone and against loading everything."""
    ground = Ground("git")
    files = ground.entries(COUNT, PER_FILE)
    place = GitPlace.checked(_origin(ground), "main", "specs")
    editor = _Editor(ground, files)
    alone = ground.root / "alone.git"
    _git(ground, "clone", "--quiet", "--bare", str(ground.root / "origin.git"), str(alone))
    daemon = _Following(ground, place)
    try:
        contestants = {
            "ours": partial(daemon.plan_of_one, editor),
            "git": partial(_fetch, ground, alone, editor),
            "all": daemon.load_of_all,
        }
        found = take_turns(ROUNDS, contestants)
    finally:
        daemon.close()
    ours, theirs = found["ours"], found["git"]
    yield told(
        f"git fetch to plan, one of {COUNT:,} resources changed",
        f"{shown(ours.median)} ({shown(ours.least)})",
        f"git fetch alone: {shown(theirs.median)} ({shown(theirs.least)}), so {ours.median / theirs.median:.1f}× that",
    )
    yield faster("the same against loading all of them", ours, found["all"], WANTED)


class _Following:
    """What a daemon holds, without its threads."""

    def __init__(self, ground: Ground, place: GitPlace) -> None:
        sys.path.insert(0, str(ROOT / "tests" / "plugins"))
        self._runtime = open_runtime(load_settings(None, ground.environ), "bench")
        self._place = place
        self._reconciler = Reconciler(self._runtime, long_lived=True)
        self._workspace = open_workspace(self._runtime, place)
        self._fetch()
        self._workspace.load()
        self._workspace.record()

    def plan_of_one(self, editor: _Editor) -> float:
        """Seconds from a commit that is there to the plan of its change."""
        name = editor.commit()
        started = time.perf_counter()
        self._fetch()
        changed = self._workspace.load()
        self._workspace.record()
        plan = self._reconciler.plan(self._workspace, changed, PlanRules()).plan
        seconds = time.perf_counter() - started
        wanted = {f"Entry/{name}", *(f"Entry/{other}" for other in editor.unseen)}
        if {str(change.ref) for change in plan.effective} != wanted:
            raise BrokenError(f"the plan is not that of {sorted(wanted)}: {plan.summary()}")
        editor.unseen.clear()
        return seconds

    def load_of_all(self) -> float:
        """Seconds of loading everything from the mirror, as a process does that was just started."""
        workspace = open_workspace(self._runtime, self._place)
        started = time.perf_counter()
        workspace.load()
        seconds = time.perf_counter() - started
        if len(workspace.wanted) != COUNT:
            raise BrokenError(f"{len(workspace.wanted)} resources were loaded")
        return seconds

    def close(self) -> None:
        """End it."""
        self._reconciler.close()
        self._runtime.database.close()

    def _fetch(self) -> None:
        assert isinstance(self._workspace.source, GitSource)
        self._workspace.source.fetch()


class _Editor:
    """Changes one document a commit, each time another one."""

    def __init__(self, ground: Ground, files: Sequence[Path]) -> None:
        self._ground = ground
        self._files = files
        self._next = 0
        self.unseen: list[str] = []

    def commit(self) -> str:
        """Change a document, commit, push. Its name."""
        path = self._files[self._next]
        self._next += 1
        text = path.read_text()
        name = text.partition("name: ")[2].split()[0]
        path.write_text(text.replace("text: entry", "text: edited entry", 1))
        checkout = ("-C", str(self._ground.specs.parent))
        _git(self._ground, *checkout, "commit", "--quiet", "-m", f"Edit {name}", "specs")
        _git(self._ground, *checkout, "push", "--quiet", str(self._ground.root / "origin.git"), "HEAD:main")
        return name


def _fetch(self) -> None:
    assert isinstance(self._workspace.source, GitSource)
    self._workspace.source.fetch()


class _Editor:
    """Changes one document a commit, each time another one."""

    def __init__(self, ground: Ground, files: Sequence[Path]) -> None:
        self._ground = ground
        self._files = files
        self._next = 0
        self.unseen: list[str] = []

    def commit(self) -> str:
        """Change a document, commit, push. Its name."""
        path = self._files[self._next]
        self._next += 1
        text = path.read_text()
        name = text.partition("name: ")[2].split()[0]
        path.write_text(text.replace("text: entry", "text: edited entry", 1))
        checkout = ("-C", str(self._ground.specs.parent))
        _git(self._ground, *checkout, "commit", "--quiet", "-m", f"Edit {name}", "specs")
        _git(self._ground, *checkout, "push", "--quiet", str(self._ground.root / "origin.git"), "HEAD:main")
        return name


def _plan_of_one(ground: Ground, origin: str, editor: _Editor) -> float:
    name = editor.commit()
    whole = ground.command("plan", "--git", origin, "--path", "specs")
    if f"Entry/{name}" not in whole.out:
        raise BrokenError(f"the change of {name} is not in the plan: {whole.out[-500:]}")
    return whole.wall


def _plan_again(ground: Ground, origin: str) -> float:
    return ground.command("plan", "--git", origin, "--path", "specs").wall


def _fetch(ground: Ground, alone: Path, editor: _Editor) -> float:
    editor.unseen.append(editor.commit())
    command = ["git", "-C", str(alone), "fetch", "--quiet", str(ground.root / "origin.git"), "+main:main"]
    return run(command, _environ(ground), ground.root).wall


def _origin(ground: Ground) -> str:
    """The specs of the ground as a repository; its address."""
    origin = ground.root / "origin.git"
    shutil.rmtree(ground.root / ".git", ignore_errors=True)
    _git(ground, "init", "--quiet", "--bare", "-b", "main", str(origin))
    _git(ground, "-C", str(ground.root), "init", "--quiet", "-b", "main")
    _git(ground, "-C", str(ground.root), "add", "specs")
    _git(ground, "-C", str(ground.root), "commit", "--quiet", "-m", "All of them")
    _git(ground, "-C", str(ground.root), "push", "--quiet", str(origin), "HEAD:main")
    return f"file://{origin}"


def _environ(ground: Ground) -> dict[str, str]:
    who = {f"GIT_{who}_{what}": "bench@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {"PATH": os.environ["PATH"], "HOME": str(ground.root), "GIT_CONFIG_NOSYSTEM": "1", **who}


def _git(ground: Ground, *arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments], env=_environ(ground), cwd=ground.root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BrokenError(f"git {' '.join(arguments)}: {done.stderr}")
