"""The table of docs/capabilities.md against the tests of the tree. Run by a test, and by hand:

    python tests/docs/capabilities.py            say what is wrong
    python tests/docs/capabilities.py --write    put the last column right

A row is shown by every test with `_row_<id>_` in its name (0-09 by `test_row_0_09_atomic_transaction`); one test may
show several. The last column names them all, or says "not yet"; nothing else decides what is done.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "capabilities.md"
NOT_YET = "not yet"
COUNTS = {"0": 34, "1": 19, "3": 12, "2": 60, "4": 20, "9": 6}
IDS = tuple(f"{part}-{number:02}" for part, count in COUNTS.items() for number in range(1, count + 1))
_ROW = re.compile(r"^\| (\d-\d\d) \| (.+?) \| (.+?) \|$")
_NAME = re.compile(r"_row_(\d)_(\d\d)(?=_)")
_FOLDERS = ("tests", "reconciler", "web")


def shown_by(root: Path = ROOT) -> dict[str, list[str]]:
    """Every test that shows a row, as `path::name`, by row. A test with a number that no row has counts as well."""
    found: dict[str, list[str]] = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("test_*.py")):
            for name in _tests(ast.parse(path.read_text())):
                for part, number in _NAME.findall(name.rpartition("::")[2]):
                    found.setdefault(f"{part}-{number}", []).append(f"{path.relative_to(root).as_posix()}::{name}")
    return found


def corrected(page: str, tests: Mapping[str, list[str]]) -> str:
    """The page with the last column as it has to be."""
    return "".join(f"{_corrected(line, tests)}\n" for line in page.splitlines())


def complaints(page: str, tests: Mapping[str, list[str]]) -> list[str]:
    """Everything that is not true of the page, one line each."""
    rows = [(number, row) for number, line in enumerate(page.splitlines(), 1) if (row := _ROW.match(line))]
    ids = [row[1] for _, row in rows]
    found = [f"row {row} is missing" for row in IDS if row not in ids]
    found += [f"row {row} stands there {ids.count(row)} times" for row in IDS if ids.count(row) > 1]
    found += [f"row {row} is asked for by nobody" for row in ids if row not in IDS]
    found += [
        f"{test} shows row {row}, which nobody asks for" for row in tests if row not in IDS for test in tests[row]
    ]
    found += [
        f"docs/capabilities.md:{number}: row {row[1]} says {row[3]}, has to say {wanted}"
        for number, row in rows
        if (wanted := _column(tests.get(row[1], []))) != row[3]
    ]
    return found


def _corrected(line: str, tests: Mapping[str, list[str]]) -> str:
    row = _ROW.match(line)
    return line if row is None else f"| {row[1]} | {row[2]} | {_column(tests.get(row[1], []))} |"


def _column(tests: list[str]) -> str:
    return "<br>".join(f"`{test}`" for test in tests) if tests else NOT_YET


def _tests(module: ast.Module) -> Iterator[str]:
    """Names of the test functions and methods, methods as `Class::name`."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{name}" for name in _tests(ast.Module(node.body, [])))


def main(arguments: list[str]) -> int:
    """Check, or correct with --write. The exit code."""
    tests = shown_by()
    if "--write" in arguments:
        PAGE.write_text(corrected(PAGE.read_text(), tests))
    found = complaints(PAGE.read_text(), tests)
    for line in found:
        print(line)
    done = sum(1 for row in IDS if tests.get(row))
    print(f"{done} of {len(IDS)} rows are shown by a test")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
