"""New resources of one plan that ask for the same one thing: each is told of the others, and none is held up."""

from __future__ import annotations

from plain_kind import change_of, plan, remembers, sees, wants

from reconciler.model.plan import Action

DOOR = {"the door": "waits outside"}


def test_each_of_two_is_told_of_the_other() -> None:
    found = plan([wants("a", {"claims": DOOR}), wants("b", {"claims": {"the door": "fails"}})], [sees("a"), sees("b")])
    whys = {change.ref.name: change.why for change in found.changes}
    assert whys == {
        "a": "it does not exist; Plain/b of this plan also asks for the door: whichever is made later waits outside",
        "b": "it does not exist; Plain/a of this plan also asks for the door: whichever is made later fails",
    }
    assert all(change.is_effective for change in found.changes)


def test_many_are_counted_off() -> None:
    names = ["a", "b", "c", "d", "e"]
    found = plan([wants(name, {"claims": DOOR}) for name in names], [sees(name) for name in names])
    assert "Plain/a, Plain/b, Plain/c … of this plan also asks for" in change_of(found, "e").why


def test_nobody_is_told_of_one_that_asks_for_something_else_or_is_there_or_is_not_made() -> None:
    kept = wants("kept", {"size": 1, "claims": DOOR})
    found = plan(
        [
            wants("new", {"claims": DOOR}),
            wants("other", {"claims": {"the window": "fails"}}),
            wants("idle", {"claims": DOOR}, suspend=True),
            wants("held", {"claims": DOOR}, approval="manual"),
            kept,
        ],
        [sees("new"), sees("other"), sees("idle"), sees("held"), sees("kept", {"size": 1})],
        [remembers(kept)],
    )
    assert change_of(found, "new").why == "it does not exist"
    assert change_of(found, "kept").action is Action.NOOP
