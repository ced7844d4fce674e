"""The main job, before one's eyes: `make demo` runs this.

The daemon watches `specs/`, makes its clusters on the sandbox, and serves the page. Then somebody deletes a ConfigMap
by hand, and the daemon puts it back. At last a pair of nodes is upgraded. Everything is kept in `.demo` beside the
Makefile, and ends with this program.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from pair_act import Act

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".demo" / "home"
PAIR_HOME = ROOT / ".demo" / "pair"
DRIFT = "/api/v1/namespaces/default/configmaps/motd"
LOCK = "lock"
TIMEOUT = 120.0


def main() -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--specs", default=str(ROOT / "specs"))
    asked = parser.parse_args()
    alone = the_only_demo()
    if alone is None:
        say("a demo runs in this folder already: end that one first")
        return 1
    act = Act(PAIR_HOME, command(), environment())
    act.clear()
    for old in HOME.parent.iterdir():
        if old.name != LOCK:
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
    HOME.mkdir(parents=True, mode=0o700)
    daemon = subprocess.Popen(
        [*command(), "daemon", asked.specs, "--port", str(asked.port)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=(HOME.parent / "daemon.log").open("w"),
        text=True,
    )
    try:
        return show(daemon, act, once=asked.once)
    except KeyboardInterrupt:
        say("\nstopping …")
        return 0
    finally:
        stop(daemon)
        alone.close()


def the_only_demo() -> IO[str] | None:
    """A lock that is held for the length of the demo; None when another demo holds it."""
    HOME.parent.mkdir(exist_ok=True)
    lock = (HOME.parent / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def show(daemon: subprocess.Popen[str], act: Act, *, once: bool) -> int:
    """What one is to see."""
    assert daemon.stdout is not None
    url = daemon.stdout.readline().partition("page: ")[2].strip()
    if not url:
        say((HOME.parent / "daemon.log").read_text().strip())
        return 1
    say(f"The daemon watches specs/ and serves {url}\n\nMaking the clusters:")
    seen = await_ready(daemon)
    drift_and_heal(seen)
    act.play(say)
    say("")
    recap()
    say(f"\nEverything is as specs/ says. The page: {url}")
    if once:
        return 0
    say("Edit a file in specs/ and watch the page. Ctrl-C ends everything.")
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    daemon.wait()
    return daemon.returncode


def await_ready(daemon: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Print each step as it ends, until every resource is ready."""
    told = 0
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended: see {HOME.parent / 'daemon.log'}")
        told = tell_events(told)
        resources = listed()
        if resources and all(one["ready"] == "True" for one in resources):
            tell_events(told)
            return resources
        time.sleep(1.0)  # each look is two commands, of the processor that the daemon makes clusters with
    raise SystemExit(f"not ready after {TIMEOUT:.0f} s: {[one['ref'] for one in listed() if one['ready'] != 'True']}")


def drift_and_heal(resources: list[dict[str, Any]]) -> None:
    """Delete something by hand; the daemon finds it and puts it back."""
    from reconciler.transports.kube import KubeTransport

    if not any(one["ref"] == "Cluster/dev" for one in resources):
        return
    kubeconfig = run("cluster", "kubeconfig", "dev").strip()
    with KubeTransport(Path(kubeconfig)) as cluster:
        say("\nSomebody deletes the ConfigMap motd in cluster dev by hand:")
        before = cluster.get(DRIFT)
        cluster.delete(DRIFT)
        after = cluster.get(DRIFT)
        say(f"  before: {'there' if before else 'missing'}    after the delete: {'there' if after else 'gone'}")
        started = time.monotonic()
        run("reconcile", "Cluster/dev")
        until = time.monotonic() + TIMEOUT
        while cluster.get(DRIFT) is None:
            if time.monotonic() > until:
                raise SystemExit("the drift was not healed")
            time.sleep(0.1)
        say(
            f"  the daemon looked, saw the drift, and put it back: there again after {time.monotonic() - started:.1f} s"
        )
    change = json.loads(run("history", "Cluster/dev", "-n", "1", "-o", "json"))[0]
    say(f"  history: {change['action']} because {change['why']}")


def recap() -> None:
    """Ansible's last words, over everything that the daemon did."""
    import click

    from reconciler.cli.render import recap_lines
    from reconciler.model.result import VERDICTS, Verdict

    counts: dict[str, dict[Verdict, int]] = {}
    for one in listed():
        row = counts.setdefault(f"cluster/{one['ref'].partition('/')[2]}", dict.fromkeys(VERDICTS, 0))
        for change in json.loads(run("history", one["ref"], "-o", "json")):
            row[change["verdict"]] += 1
    for line in recap_lines(counts):
        click.echo(line)


def tell_events(after: int) -> int:
    """Print events newer than `after`; the id of the newest."""
    for line in run("events", "-n", "500", "-o", "json").splitlines():
        event = json.loads(line)
        if event["type"] == "event" and event["id"] > after:
            after = event["id"]
            if event["reason"] == "Applied":
                say(f"  {event['resource']}: {event['message']}")
    return after


def listed() -> list[dict[str, Any]]:
    """Every resource as the store knows it."""
    answer = json.loads(run("get", "-o", "json"))
    return list(answer["items"])


def run(*arguments: str) -> str:
    """Output of a command; ends the demo when it fails."""
    done = subprocess.run(
        [*command(), *arguments], env=environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"reconciler {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def stop(daemon: subprocess.Popen[str]) -> None:
    """End the daemon, then the sandbox that it started."""
    if daemon.poll() is None:
        daemon.terminate()
        try:
            daemon.wait(timeout=40)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    if daemon.stdout is not None:
        daemon.stdout.close()
    subprocess.run([*command(), "sandbox", "stop"], env=environment(), capture_output=True, timeout=60, check=False)


def command() -> list[str]:
    """The command line, by the interpreter that runs this."""
    return [sys.executable, "-m", "reconciler.cli.main"]


def environment() -> dict[str, str]:
    """Everything is kept in the demo's own folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
    return {**kept, "RECONCILER_HOME": str(HOME), "NO_COLOR": "1"}


def say(text: str) -> None:
    """One line, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
