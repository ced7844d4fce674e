"""docs/exit-codes.md and docs/json-stream.md say what is so, no less and no more."""

from __future__ import annotations

import inspect
import json
import signal
import threading
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import page_tables
import pytest
from place import Place, entry

from reconciler import errors
from reconciler.cli import exit_codes, main
from reconciler.errors import ReconcilerError
from reconciler.model.plan import Action
from reconciler.model.result import VERDICTS, StepOutcome
from reconciler.store.events import Event

APPLY = "apply -o json"
WATCH = "get -w -o json"
EVENTS = "events -o json"


def described(heading: str) -> dict[str, set[str]]:
    """The types of a stream and their fields, as the page has them."""
    (rows,) = page_tables.tables("json-stream.md", heading)
    return {page_tables.names(row[0])[0]: set(page_tables.names(row[1])) for row in rows}


def assert_described(heading: str, stream: Iterable[dict[str, Any]]) -> None:
    """Every line has just the fields that the page gives its type, and every type of the page was seen."""
    page, seen = described(heading), {}
    for line in stream:
        seen[line["type"]] = line.keys() - {"type"}
        assert seen[line["type"]] == page[line["type"]], line["type"]
    assert seen.keys() == page.keys()


def test_the_page_has_every_exit_code_and_its_meaning() -> None:
    rows = page_tables.tables("exit-codes.md")[0]
    assert {int(code): meaning for code, meaning in rows} == exit_codes.TABLE


def test_every_error_has_a_code_of_the_table() -> None:
    kinds = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, ReconcilerError)]
    assert len(kinds) > 10
    assert {one.exit_code for one in kinds} <= exit_codes.TABLE.keys()
    assert main.USAGE_CODE == exit_codes.USAGE
    assert main.INTERRUPTED_CODE == exit_codes.INTERRUPTED


def test_the_page_speaks_of_commands_that_exist_and_codes_of_the_table() -> None:
    rows = [row for table in page_tables.tables("exit-codes.md")[1:] for row in table]
    used = [word for row in rows for cell in row for word in page_tables.names(cell)]
    assert {word.split()[0] for word in used} <= set(main._COMMANDS)
    mapping = page_tables.tables("exit-codes.md", "For who comes from the shell scripts")[0]
    assert [int(row[0]) for row in mapping] == [0, 1, 1, 2, 2, 3, 10, 11]
    ours = {
        int(word) for row in mapping for word in row[2].replace(":", " ").replace(",", " ").split() if word.isdigit()
    }
    assert ours
    assert ours <= exit_codes.TABLE.keys()


def test_the_stream_of_apply_is_as_described(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    stream = place.apply("-o", "json").stream
    assert [line["type"] for line in stream[:2]] == ["version", "plan"]
    assert stream[0]["format"] in (page_tables.DOCS / "json-stream.md").read_text()
    assert stream[-1]["type"] == "recap"
    assert_described(APPLY, stream)


def test_the_stream_of_get_is_as_described(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    place.apply()
    lines = list(watched(place))
    assert lines[0]["format"] in (page_tables.DOCS / "json-stream.md").read_text()
    assert_described(WATCH, lines)
    said = (page_tables.DOCS / "json-stream.md").read_text().partition("`resource` has what")[2].partition("\n\n")[0]
    assert lines[1]["resource"].keys() == set(page_tables.names(said)) - {"get -o json"}


def watched(place: Place) -> Iterator[dict[str, Any]]:
    """The lines of a watch, during which the only resource goes."""
    process = place.start_program("get", "-w", "-o", "json")
    deadline = threading.Timer(60, process.kill)  # then there is nothing more to read
    deadline.start()
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        yield json.loads(process.stdout.readline())
        place.write("a.yaml", entry("another"))
        place.apply("--prune")
        for text in process.stdout:
            line = json.loads(text)
            yield line
            if line["type"] == "gone":
                break
    finally:
        deadline.cancel()
        deadline.join()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_the_stream_of_events_is_as_described(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    place.apply()
    stream = place.run("events", "-o", "json").stream
    assert stream[0]["format"] in (page_tables.DOCS / "json-stream.md").read_text()
    assert_described(EVENTS, stream)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("action", [one.value for one in Action if one is not Action.NOOP]),
        ("outcome", [one.value for one in StepOutcome if one is not StepOutcome.OPEN]),
        ("verdict", list(VERDICTS)),
        ("severity", list(typing.get_args(typing.get_type_hints(Event)["type"]))),
    ],
)
def test_the_page_lists_every_value_of_a_field(field: str, values: list[str]) -> None:
    sentence = (page_tables.DOCS / "json-stream.md").read_text().partition(f"`{field}` is ")[2].partition(".")[0]
    assert page_tables.names(sentence) == values
