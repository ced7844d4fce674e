"""Upgrading one node while the other one serves, and switching between them.

Neither node is stopped unless the other one works; where nodes say whether they serve, none that serves alone is. Who
is to take over names the node that it takes over from, and afterwards exactly one has to say that it serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from reconciler.errors import DeadlineError, ReconcilerError, TerminalError
from reconciler.kind import Context, Outputs
from reconciler.kinds.node_pair.nodes.checking import serves, version_of
from reconciler.kinds.node_pair.spec import ROLES, Role, other
from reconciler.kinds.node_pair.steps.pausing import begin_rolling_back, begin_upgrading
from reconciler.kinds.node_pair.steps.securing import renew_lock
from reconciler.kinds.node_pair.steps.work import STOPS_US, SkippedError, Work, perform

_SWITCH: Mapping[Role, str] = {"backup": "switchover", "master": "switchback"}
_BEYOND = 30.0
"""Seconds that we wait for a command beyond the time after which its node ends it."""
_ON_A_NODE = ("stop", "install", "start")


def stop(role: Role, context: Context) -> Outputs | None:
    """Stop a node, once the other one works and, where they can say so, serves."""
    return perform(f"stop_{role}", context, partial(_command, role, "stop"))


def install(role: Role, context: Context) -> Outputs | None:
    """Put the new version in place on a node."""
    return perform(f"install_{role}", context, partial(_command, role, "install"))


def start(role: Role, context: Context) -> Outputs | None:
    """Start a node."""
    return perform(f"start_{role}", context, partial(_command, role, "start"))


def verify(role: Role, context: Context) -> Outputs | None:
    """A node reports the new version and works, and goes on doing so for `verify.soak`. Outputs: `version`."""
    return perform(f"verify_{role}", context, partial(_verify, role))


def roll_back(role: Role, context: Context) -> Outputs | None:
    """A node runs again what it ran before: only started, if nothing was installed on it."""
    return perform(f"undo-{_first(context, role)}", context, partial(_roll_back, role))


def switch_over(context: Context) -> Outputs | None:
    """The backup serves. Outputs: `serving`."""
    return perform("switch_over", context, partial(_serve_at, "backup", "switchover"))


def switch_back(context: Context) -> Outputs | None:
    """The master serves, before its upgrade is over. Outputs: `serving`."""
    return perform("switch_back", context, partial(_serve_at, "master", "switchback"))


def undo_switch_over(context: Context) -> Outputs | None:
    """The master serves again."""
    return perform("undo-switch_over", context, partial(_serve_again, "master", "undo-switchover"))


def undo_switch_back(context: Context) -> Outputs | None:
    """The backup serves again."""
    return perform("undo-switch_back", context, partial(_serve_again, "backup", "undo-switchback"))


def switch_back_at_end(context: Context) -> Outputs | None:
    """The master serves again, after all that could be taken back. What goes wrong is `wait`."""
    return perform("switch_back", context, partial(_serve_at, "master", "switchback"), gently=True)


def works(work: Work, role: Role, version: str = "") -> str:
    """What is wrong with a node; "" when it works. version: what it is known to run, "" to ask it first.

    A node that is away raises.
    """
    node, command = work.nodes[role], work.spec.commands.get("verify")
    try:
        if command is None or not version:
            version = version_of(node, work.spec)
        if command is None:
            return ""
        done = node.run(command.script, timeout=command.timeout, env=work.spec.environment(role, version))
    except STOPS_US:
        raise
    except ReconcilerError as error:
        return str(error)
    return "" if done.returncode == 0 else done.last_lines(3) or f"{command.name} ended with {done.returncode}"


def serving_roles(work: Work) -> list[Role]:
    """The nodes that say that they serve. While that is not exactly one, they are asked again, some times."""
    found: list[Role] = []
    for attempt in range(work.spec.verify_retries + 1):
        asked = work.on_both(lambda role: serves(work.nodes[role], work.spec))
        found = [role for role in ROLES if asked[role]]
        if len(found) == 1:
            break
        if attempt < work.spec.verify_retries:
            work.context.sleep(max(0.1, min(1.0, work.spec.verify_delay)))
    return found


def _may_stop(work: Work, role: Role) -> None:
    """Raises TerminalError if nobody would serve."""
    if work.spec.serving is not None and "switchover" in work.spec.commands:
        serving = serving_roles(work)
        if serving != [other(role)]:
            who = " and ".join(serving) or "no node"
            message = f"{role} is not stopped: the {other(role)} has to serve meanwhile, but {who} says so"
            raise TerminalError("WouldStopServing", message)
    is_new = f"verify_{other(role)}" in work.context.outputs
    trouble = works(work, other(role), work.spec.version if is_new else work.version_before(other(role)))
    if trouble:
        message = f"{role} is not stopped: the {other(role)} does not work, and nobody would be left: {trouble}"
        raise TerminalError("WouldStopServing", message)


def _command(role: Role, name: str, work: Work) -> Outputs:
    if f"{name}_{role}" == _first(work.context, role):
        _begin(work, role)
    command = work.spec.commands[name]
    work.carry_out(role, name, command, work.spec.environment(role, work.spec.version, _serving_now(work, role)))
    return {}


def _begin(work: Work, role: Role) -> None:
    """Before anything is done to a node."""
    begin_upgrading(work, f"the {role} is being upgraded")
    if work.spec.configuration is not None:
        renew_lock(work)
    _may_stop(work, role)


def _serving_now(work: Work, role: Role) -> str:
    """Who is taken to be serving while this node is upgraded."""
    return other(role) if work.spec.serving is not None and "switchover" in work.spec.commands else ""


def _verify(role: Role, work: Work) -> Outputs:
    spec = work.spec
    trouble = _trouble(work, role, spec.version)
    for _ in range(spec.verify_retries):
        if not trouble:
            break
        work.tell(f"{role}: not yet: {trouble}")
        work.context.sleep(spec.verify_delay)
        trouble = _trouble(work, role, spec.version)
    if trouble:
        raise TerminalError("NotVerified", f"{role} ({work.nodes[role].address}): {trouble}")
    _soak(work, role)
    return {"version": spec.version}


def _soak(work: Work, role: Role) -> None:
    """It has to go on working. Raises TerminalError the first time that it does not."""
    spec, began = work.spec, work.context.now()
    while (left := began + spec.verify_soak - work.context.now()) > 0:
        work.context.sleep(min(max(spec.verify_delay, 0.1), left))
        if trouble := _trouble(work, role, spec.version):
            passed = work.context.now() - began
            message = f"{role} ({work.nodes[role].address}) worked, and {passed:.0f} s later did not: {trouble}"
            raise TerminalError("NotVerified", message)


def _trouble(work: Work, role: Role, version: str) -> str:
    """Why a node is not verified to run this version; "" when it is."""
    node, command = work.nodes[role], work.spec.commands.get("verify")
    try:
        reported = version_of(node, work.spec)
        if reported != version:
            return f"it reports version {reported}, not {version}"
        if command is None:
            return ""
        env = work.spec.environment(role, version, _serving_now(work, role))
        done = node.run(command.script, timeout=command.timeout, env=env)
    except DeadlineError as error:
        return error.message
    except TerminalError as error:
        return error.message
    return "" if done.returncode == 0 else done.last_lines(3) or f"verify ended with {done.returncode}"


def _serve_again(to: Role, name: str, work: Work) -> Outputs:
    begin_rolling_back(work)
    return _serve_at(to, name, work)


def _serve_at(to: Role, name: str, work: Work) -> Outputs:
    """A node serves: asked of both before, compared by the command itself, and asked again."""
    serving, since = serving_roles(work), other(to)
    if serving == [to]:
        raise SkippedError(f"the {to} serves")
    if serving != [since]:
        message = f"{' and '.join(serving) or 'no node'} says that it serves, where the {since} had to"
        raise TerminalError("ServingUnclear", message)
    if trouble := works(work, to):
        raise TerminalError("NotVerified", f"the {to} does not take over, for it does not work: {trouble}")
    command = work.spec.commands[_SWITCH[to]]
    work.carry_out(to, name, command, work.spec.environment(to, work.spec.version, since))
    serving = serving_roles(work)
    if serving == [to]:
        return {"serving": to}
    who = " and ".join(serving) or "no node"
    message = f"{command.name} ended well, but {who} says that it serves, where the {to} has to"
    raise TerminalError("ServingUnclear", message)


def _roll_back(role: Role, work: Work) -> Outputs:
    """Only what began is taken back. Whatever has a name of its own runs at most once here too."""
    begin_rolling_back(work)
    before, commands = work.version_before(role), work.spec.commands
    env = work.spec.environment(role, before, _serving_now(work, role))
    is_installed = _was_carried_out(work, role, "install")
    if not is_installed and not _was_carried_out(work, role, "stop"):
        raise SkippedError(f"nothing was done to the {role}")
    if is_installed and "rollback" in commands:
        _may_roll_back(work, role)
        if "stop" in commands and _was_carried_out(work, role, "start"):
            _stop_new(work, role, env)
        work.carry_out(role, "rollback", commands["rollback"], env)
    if "start" in commands:
        work.carry_out(role, "undo-start", commands["start"], env)
    _runs_again(work, role, before)
    return {"version": before}


def _stop_new(work: Work, role: Role, env: Mapping[str, str]) -> None:
    """The new version may run. One that does not stop is no reason not to put the old one back."""
    try:
        work.carry_out(role, "undo-stop", work.spec.commands["stop"], env)
    except TerminalError as error:
        work.tell(f"going on without that: {error}")


def _runs_again(work: Work, role: Role, version: str) -> None:
    """Raises TerminalError if a node does not report the version that it had."""
    reported = ""
    for attempt in range(work.spec.verify_retries + 1):
        try:
            reported = version_of(work.nodes[role], work.spec)
        except (TerminalError, DeadlineError) as error:
            reported = f"nothing ({error.message})"
        if reported == version:
            return
        if attempt < work.spec.verify_retries:
            work.context.sleep(work.spec.verify_delay)
    message = f"{role} ({work.nodes[role].address}) was to run {version} again, but reports {reported}"
    raise TerminalError("NotRolledBack", message)


def _may_roll_back(work: Work, role: Role) -> None:
    """A node that works and serves alone is left as it is. Raises TerminalError."""
    if work.spec.serving is not None and "switchover" in work.spec.commands:
        would_stop = serving_roles(work) == [role]
    else:
        would_stop = not works(work, role) and bool(works(work, other(role)))
    if would_stop:
        raise TerminalError("WouldStopServing", f"{role} is not rolled back: it serves, and the {other(role)} does not")


def _was_carried_out(work: Work, role: Role, name: str) -> bool:
    """Whether a command may have begun on a node. A detached one is known there; of another, its step says so."""
    command = work.spec.commands.get(name)
    if command is None or not work.was_begun(f"{name}_{role}"):
        return False
    if command.repeatable or f"{name}_{role}" in work.context.outputs:
        return True
    node, whole = work.nodes[role], f"{work.run}-{name}-{role}"
    found = node.patiently(lambda: node.detached.ask(whole))
    if found.standing == "running":  # nothing is taken back beside it
        work.tell(f"{role}: waiting for {name}, which still runs")
        limit = command.timeout + _BEYOND
        node.patiently(lambda: node.detached.wait(whole, timeout=limit, on_output=node.log, sleep=node.sleep))
    return found.standing != "never"


def _first(context: Context, role: Role) -> str:
    """The first step on a node: taking that one back takes back all of them."""
    assert context.change is not None
    planned = {step.name for step in context.change.steps}
    return next((step for name in _ON_A_NODE if (step := f"{name}_{role}") in planned), f"verify_{role}")
