"""A running HAProxy takes its file: no connection is refused meanwhile, and a new worker is seen. See `installing`.

HAProxy's master process starts a worker with the new file, which takes over the listening sockets; the old one serves
what it has begun. A file that it cannot load leaves the old worker alone. That it was asked proves nothing: there has
to be a worker that was not there before. Where neither a master socket nor a container can be looked at, the exit code
of the command has to do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from reconciler.errors import DeadlineError, TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.kinds.cluster.haproxy.gateway import Gateway
from reconciler.kinds.cluster.haproxy.master import Master, Processes
from reconciler.kinds.cluster.providers.docker import Tools, engine_environment

_POLL = 0.05
_POLL_CONTAINER = 0.5
_PATIENCE = 2.0
"""Seconds for which a master may not answer because it loads just now, on somebody else's word."""
_PROCESS = re.compile(r"^\s*(\d+)\s+\S*haproxy(\s|$)")


def reload(gateway: Gateway, context: Context) -> None:
    """Have HAProxy load its file, and see that it did.

    Raises UnreachableError before anything is asked when it does not run, TransientError("ReloadFailed") or
    DeadlineError when it goes on with what it had.
    """
    if gateway.master_socket is not None:
        _through_master(gateway, Master(gateway.master_socket), context)
    elif gateway.container:
        _in_container(gateway, context)
    else:
        _run(gateway, context)


def check_runs(gateway: Gateway, context: Context) -> None:
    """Raise UnreachableError when it can be seen that no HAProxy would take the file."""
    if gateway.master_socket is not None:
        _answer(gateway, Master(gateway.master_socket), context)
    elif gateway.container:
        _workers_in(gateway, context)


def _through_master(gateway: Gateway, master: Master, context: Context) -> None:
    before = _answer(gateway, master, context)
    if gateway.reload:
        _run(gateway, context)
    else:
        context.log("HAProxy: reload\n")
        master.reload(gateway.timeout)

    def is_loaded() -> bool:
        try:
            now = master.processes(gateway.timeout)
        except UnreachableError:
            return False  # it cannot be asked while it loads
        if now.reloads > before.reloads and now.failed:
            raise TransientError("ReloadFailed", "HAProxy could not load its file and goes on with what it had")
        context.log(f"HAProxy's worker: {', '.join(map(str, sorted(now.workers)))}\n")
        return bool(now.workers - before.workers)

    _await(gateway, context, _POLL, is_loaded)


def _answer(gateway: Gateway, master: Master, context: Context) -> Processes:
    """What runs now. Raises UnreachableError when nobody has answered for a while."""
    give_up = time.monotonic() + min(_PATIENCE, gateway.timeout)
    while True:
        try:
            return master.processes(gateway.timeout)
        except UnreachableError:
            if time.monotonic() >= give_up:
                raise
            context.sleep(_POLL)


def _in_container(gateway: Gateway, context: Context) -> None:
    """Without a master socket its processes are looked at from outside."""
    before = _workers_in(gateway, context)
    if gateway.reload:
        _run(gateway, context)
    else:
        Tools(context, "docker").do("docker", "kill", "--signal", "HUP", gateway.container, timeout=gateway.timeout)
    _await(gateway, context, _POLL_CONTAINER, lambda: bool(_workers_in(gateway, context) - before))


def _workers_in(gateway: Gateway, context: Context) -> frozenset[int]:
    """The processes of HAProxy in the container; the master keeps its number."""
    done = Tools(context, "docker").look("docker", "top", gateway.container, "-eo", "pid,args")
    if done.returncode:
        raise UnreachableError("NoHaproxy", f"container {gateway.container} does not run: {done.last_lines(1)}")
    found = (_PROCESS.match(line) for line in done.stdout.splitlines())
    processes = frozenset(int(one[1]) for one in found if one is not None)
    if not processes:
        raise UnreachableError("NoHaproxy", f"no HAProxy runs in container {gateway.container}")
    return processes


def _run(gateway: Gateway, context: Context) -> None:
    context.log(f"+ {' '.join(gateway.reload)}\n")
    done = context.process.run(gateway.reload, timeout=gateway.timeout, env=engine_environment())
    if done.returncode:
        said = done.last_lines() or "(it said nothing)"
        raise TransientError(
            "ReloadFailed", f"{' '.join(gateway.reload)} ended with exit code {done.returncode}:\n{said}"
        )


def _await(gateway: Gateway, context: Context, pause: float, is_loaded: Callable[[], bool]) -> None:
    give_up = time.monotonic() + gateway.timeout
    while not is_loaded():
        if time.monotonic() >= give_up:
            message = f"HAProxy has no new worker {gateway.timeout:g} s after it was asked to load {gateway.file}"
            raise DeadlineError("ReloadFailed", message)
        context.sleep(pause)
