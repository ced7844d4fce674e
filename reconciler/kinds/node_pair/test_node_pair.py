"""The pure parts of the kind NodePair: its spec, its normal form, the order of its steps."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.errors import SpecError
from reconciler.kinds.node_pair import KIND
from reconciler.kinds.node_pair.plan_steps import steps_of
from reconciler.kinds.node_pair.spec import NodePairSpec
from reconciler.model.plan import Action, Change, FieldDiff
from reconciler.model.resource import Resource, ResourceRef, Source

REF = ResourceRef("NodePair", "pair")
COMMANDS = {
    name: f"{name} it"
    for name in ("version", "prepare", "stop", "install", "start", "verify", "switchover", "switchback", "rollback")
}


def resource(**changed: Any) -> Resource:
    spec: dict[str, Any] = {
        "master": {"address": "10.0.0.1"},
        "backup": {"address": "10.0.0.2"},
        "version": "2.0.0",
        "commands": COMMANDS,
        "serving": "serves",
        "configuration": {"paths": ["/etc/app"], "new": {"/etc/app/a": {"file": "/srv/a"}}},
        "rsync": {"sync": {"module": "data", "paths": {"conf": "/etc/app"}}},
        **changed,
    }
    kept = {name: value for name, value in spec.items() if value is not None}
    return Resource(REF, kept, source=Source("file:/srv/specs/pair.yaml", 1, 1), generation=1)


def steps(**changed: Any) -> dict[str, Any]:
    diffs = (FieldDiff("spec.versions.master", "1", "2"),)
    change = Change(REF, Action.UPDATE, resource(**changed), "", diffs=diffs, before={"versions": {}})
    return {step.name: step for step in steps_of(change)}


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        ({"backup": {"address": "10.0.0.1"}}, "SameNode", "master and backup are both 10.0.0.1:22"),
        ({"commands": {"version": "v", "switchover": "s"}}, "OneWay", "commands.switchover: there is no way back"),
        ({"serving": None}, "NoServing", "serving is needed to switch over"),
        ({"rsync": {"control": "command"}}, "NoCommands", "rsync.commands is needed with control: command"),
        ({"configuration": {"paths": ["/etc/app"], "new": {"/etc/b": {"file": "/x"}}}}, "Outside", "/etc/b"),
        ({"configuration": {"paths": ["/etc"], "new": {"/etc/../b": {"file": "/x"}}}}, "Outside", "/etc/../b"),
    ],
)
def test_what_the_schema_cannot_say_is_said_with_the_field(changed: dict[str, Any], reason: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        NodePairSpec.of(resource(**changed))
    assert caught.value.reason == reason


def test_row_4_15_port_873_and_five_minutes_are_the_defaults() -> None:
    spec = NodePairSpec.of(resource())
    assert spec.rsync is not None
    assert (spec.rsync.interval, spec.rsync.ports["master"], spec.rsync.timeout) == (300.0, 873, 120.0)
    assert (spec.rsync.resume_tries, spec.order) == (3, ("backup", "master"))


def test_a_list_of_scripts_ends_with_the_first_that_fails() -> None:
    spec = NodePairSpec.of(resource(commands={**COMMANDS, "install": ["true", "exit 3", "false"]}))
    assert spec.commands["install"].script == "(\ntrue\n) || exit $?\n(\nexit 3\n) || exit $?\n(\nfalse\n) || exit $?\n"


def test_the_normal_form_holds_what_both_nodes_are_to_be() -> None:
    assert KIND.normalize(resource()) == {
        "versions": {"master": "2.0.0", "backup": "2.0.0"},
        "configuration": {"/etc/app/a": {"master": "current", "backup": "current"}},
        "locks": [],
        "rsync": {"resume": "not due"},
    }
    assert KIND.normalize(resource(configuration=None, rsync=None)) == {
        "versions": {"master": "2.0.0", "backup": "2.0.0"}
    }


def test_rsync_is_paused_before_the_first_command_that_changes_a_node() -> None:
    order = list(steps())
    assert order.index("pause_rsync") < min(order.index(name) for name in ("stop_backup", "lock_configuration"))


@pytest.mark.parametrize("order", ["backup-first", "master-first"])
def test_the_master_is_stopped_only_while_the_backup_serves(order: str) -> None:
    names = [name for name in steps(order=order) if name.startswith(("stop", "verify", "switch"))]
    over, back = names.index("switch_over"), names.index("switch_back")
    assert over < names.index("stop_master") < names.index("verify_master") < back
    assert not over < names.index("stop_backup") < back


@pytest.mark.parametrize("changed", [{}, {"rsync": None}, {"configuration": None}, {"order": "master-first"}])
def test_just_one_step_commits_after_both_nodes_and_before_rsync_runs_again(changed: dict[str, Any]) -> None:
    found = steps(**changed)
    (commits,) = [name for name, step in found.items() if step.commits]
    order = list(found)
    assert order.index("verify_master") <= order.index(commits)
    later = [found[name] for name in order[order.index(commits) + 1 :]]
    assert all(step.undo is None for step in later)
    assert [step.name for step in later if step.name == "record"]


def test_what_was_begun_on_a_node_is_taken_back_also_when_it_failed_half_way() -> None:
    found = steps()
    for name in ("stop_backup", "stop_master", "switch_over", "lock_configuration", "pause_rsync"):
        assert found[name].undo is not None, name
        assert found[name].undo_partial, name


def test_nothing_interrupts_an_upgrade_that_began() -> None:
    assert [name for name, step in steps().items() if step.safe_point] == ["check_nodes"]


def test_the_plan_says_what_runs_where() -> None:
    found = steps()
    assert found["install_backup"].command == "backup: install it"
    assert found["switch_over"].command == "backup: switchover it"
    assert found["switch_back"].command == "master: switchback it"
    assert found["pause_rsync"].command == "both: systemctl stop rsync"
    assert all("(" in step.title for step in found.values()), "both languages"
