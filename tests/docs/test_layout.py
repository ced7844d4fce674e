"""The shape of the code: budgets, docstrings, words, and nothing in it that belongs to one machine."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import code_names
import pytest
from transcripts import ROOT

LINES_OF_A_FUNCTION = 50
PARAMETERS = 6
LINES_OF_A_FILE = 400
FORBIDDEN_WORDS = re.compile(r"(?:^|_)(?:items?|jobs?|managers?|helpers?|utils?|handlers?|data|infos?)(?:_|$)")
PLACES = re.compile(
    rf"/work/|/Users/\w+/|{re.escape(str(ROOT))}/"
    r"|\b(?:pypi\.org|pythonhosted\.org|npmjs\.\w+|docker\.io|quay\.io|ghcr\.io|gcr\.io|registry\.k8s\.io|crates\.io)\b"
)
MAY_NAME_PLACES = {
    "LICENSE",
    "tests/docs/test_layout.py",  # the pattern itself
}
HEAVY = ("sqlalchemy", "alembic", "kubernetes", "structlog", "rich", "flask", "starlette", "uvicorn", "paramiko")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    """All but tests and migrations; a migration is one function that lists tables, and is never changed again."""
    kept = (path for path in code_names.sources() if not path.name.startswith(("test_", "conftest")))
    return [path for path in kept if "migrations" not in path.parts]


def functions() -> Iterator[tuple[str, Function]]:
    for path in modules():
        for node in ast.walk(code_names.parsed(path)):
            if isinstance(node, Function):
                yield f"{shown(path)}:{node.lineno} {node.name}", node


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """Every text file that belongs to the project: as git says, or where there is no git, all that is not made here."""
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        found = [ROOT / name for name in asked.stdout.split("\0") if name]
    else:
        folders = ("reconciler", "web", "tests", "docs", "examples", "specs", ".ci")
        found = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def test_functions_are_short() -> None:
    long = {name: size for name, node in functions() if (size := length(node)) > LINES_OF_A_FUNCTION}
    assert long == {}, f"more than {LINES_OF_A_FUNCTION} lines: {long}"


def length(node: Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_functions_take_few_parameters() -> None:
    many = {name: count for name, node in functions() if (count := parameters(node)) > PARAMETERS}
    assert many == {}, f"more than {PARAMETERS} parameters beside self: {many}"


def parameters(node: Function) -> int:
    given = node.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return sum(1 for one in listed if one is not None and one.arg not in ("self", "cls"))


def test_files_are_short() -> None:
    long = {
        shown(path): size
        for path in code_names.sources()
        if (size := len(path.read_text().splitlines())) > LINES_OF_A_FILE
    }
    assert long == {}, f"more than {LINES_OF_A_FILE} lines: {long}"


def test_every_module_says_what_it_is() -> None:
    silent = [shown(path) for path in code_names.sources() if not ast.get_docstring(code_names.parsed(path))]
    assert silent == [], "\n".join(silent)


def test_everything_public_is_described() -> None:
    silent = [f"{shown(path)} {name}" for path in modules() for name in undescribed(code_names.parsed(path))]
    assert silent == [], "\n".join(silent)


def undescribed(node: ast.Module | ast.ClassDef, within: str = "") -> Iterator[str]:
    """Public classes, functions and methods without a docstring, functions inside functions left out."""
    for part in node.body:
        if isinstance(part, ast.ClassDef | Function) and not part.name.startswith("_"):
            if not ast.get_docstring(part):
                yield within + part.name
            if isinstance(part, ast.ClassDef):
                yield from undescribed(part, f"{within}{part.name}.")


def test_there_is_no_global_state() -> None:
    found = [
        f"{shown(path)}:{node.lineno}"
        for path in code_names.sources()
        for node in ast.walk(code_names.parsed(path))
        if isinstance(node, ast.Global)
    ]
    assert found == [], "\n".join(found)


def test_names_say_what_things_are() -> None:
    """Neither modules nor classes are called by words that would fit anything."""
    vague = [shown(path) for path in code_names.sources() if FORBIDDEN_WORDS.search(path.stem)]
    for path in code_names.sources():
        for node in ast.walk(code_names.parsed(path)):
            if isinstance(node, ast.ClassDef) and FORBIDDEN_WORDS.search(snake(node.name)):
                vague.append(f"{shown(path)}:{node.lineno} {node.name}")
    assert vague == [], "\n".join(vague)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_every_exception_from_the_rules_names_its_rule() -> None:
    bare = re.compile(r"#\s*(?:noqa(?!: [A-Z]+\d+)|type:\s*ignore(?!\[))")
    found = [
        f"{shown(path)}:{token.start[0]}"
        for path in tracked()
        if path.suffix == ".py"
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.COMMENT and bare.match(token.string)
    ]
    assert found == [], "\n".join(found)


def test_nothing_names_a_machine_or_a_registry() -> None:
    found = [
        f"{shown(path)}:{number}: {match[0]}"
        for path in tracked()
        if shown(path) not in MAY_NAME_PLACES
        for number, line in enumerate(readable(path).splitlines(), 1)
        if (match := PLACES.search(line))
    ]
    assert found == [], "\n".join(found)


def readable(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize(
    "line", ["cd /work/x", f"see {ROOT}/README.md", "https://pypi.org/simple", "docker.io/library"]
)
def test_a_place_is_recognised(line: str) -> None:
    assert PLACES.search(line)


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "specs"], ["schema", "Cluster"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys; from reconciler.cli.main import run; code = run(sys.argv[1:]); "
        f"sys.exit(f'{{code}} ' + ' '.join(set({HEAVY!r}) & sys.modules.keys()))"
    )
    environ = {"RECONCILER_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "0"
