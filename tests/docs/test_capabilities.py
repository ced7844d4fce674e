"""docs/capabilities.md says of all 151 rows which test shows them, and says nothing that is not so."""

from __future__ import annotations

from pathlib import Path

import capabilities
import pytest

TESTS = {"0-09": ["tests/store/test_x.py::test_row_0_09_atomic"], "9-06": ["tests/a.py::T::test_row_9_06_hung"]}


def test_the_page_is_true() -> None:
    found = capabilities.complaints(capabilities.PAGE.read_text(), capabilities.shown_by())
    advice = "put it right with: python tests/docs/capabilities.py --write"
    assert not found, "\n".join([*found, advice])


def test_there_are_151_rows() -> None:
    assert len(capabilities.IDS) == len(set(capabilities.IDS)) == 151
    assert {"0-34", "1-19", "3-12", "2-60", "4-20", "9-06"} <= set(capabilities.IDS)


def a_page(**columns: str) -> str:
    given = {key.replace("_", "-").removeprefix("r"): value for key, value in columns.items()}
    rows = (f"| {row} | what it is | {given.get(row, 'not yet')} |" for row in capabilities.IDS)
    return "\n".join(["# Title", "", "| id | what | test |", "| --- | --- | --- |", *rows, "", "text"]) + "\n"


def test_writing_names_every_test_and_leaves_the_rest_alone() -> None:
    page = capabilities.corrected(a_page(r1_01="`tests/gone.py::test_row_1_01_x`"), TESTS)
    assert page == a_page(r0_09=f"`{TESTS['0-09'][0]}`", r9_06=f"`{TESTS['9-06'][0]}`")
    assert capabilities.complaints(page, TESTS) == []


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        (a_page().replace("| 2-17 | what it is | not yet |\n", ""), "row 2-17 is missing"),
        (a_page() + "| 2-17 | again | not yet |\n", "row 2-17 stands there 2 times"),
        (a_page() + "| 5-01 | invented | not yet |\n", "row 5-01 is asked for by nobody"),
        (a_page(r4_01="`tests/x.py::test_row_4_01_gone`"), "row 4-01 says `tests/x.py::test_row_4_01_gone`"),
        (a_page(r4_01="done"), "row 4-01 says done, has to say not yet"),
        (a_page(), "row 0-09 says not yet, has to say `tests/store/test_x.py::test_row_0_09_atomic`"),
    ],
)
def test_what_is_not_so_is_found(page: str, complaint: str) -> None:
    assert complaint in "\n".join(capabilities.complaints(page, TESTS))


def test_tests_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "tests/store").mkdir(parents=True)
    (tmp_path / "reconciler/kinds/cluster").mkdir(parents=True)
    (tmp_path / "tests/store/test_x.py").write_text("def test_row_0_08_lock_times_out(): ...\ndef test_other(): ...\n")
    (tmp_path / "reconciler/kinds/cluster/test_y.py").write_text("class T:\n    async def test_row_7_77_x(self): ...\n")
    (tmp_path / "tests/store/tools.py").write_text("def test_row_0_09_is_no_test(): ...\n")
    found = capabilities.shown_by(tmp_path)
    assert found == {
        "0-08": ["tests/store/test_x.py::test_row_0_08_lock_times_out"],
        "7-77": ["reconciler/kinds/cluster/test_y.py::T::test_row_7_77_x"],
    }
    assert any("7-77, which nobody asks for" in line for line in capabilities.complaints(a_page(), found))
