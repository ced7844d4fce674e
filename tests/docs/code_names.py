"""Whether a name that a page puts in backticks exists in the code. Used by tests.

What counts as what: `a/b.py` and `a/b/` are paths, from the root or from reconciler/. `A`, `A.b`, `A.b()`, `b()` are
classes, their members, functions. `make a` is a target. Everything else is a module, a setting, or occurs in the code
as it is written: a table, a condition, an option.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from transcripts import ROOT

from reconciler.loading.settings_keys import describe_settings

PACKAGES = ("reconciler", "web")
_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_CALL = re.compile(r"^(?:([A-Za-z]\w*)\.)?([a-z_]\w*)\(\)$")
_MEMBER = re.compile(r"^([A-Z]\w*[a-z]\w*)\.([a-z_]\w*)$")
_CLASS = re.compile(r"^[A-Z][a-z]\w*$")
_PATH = re.compile(r"^[\w.-]+(?:/[\w.-]*)+$|^\w+\.(?:py|md|cfg|toml|json)$")
_ALSO_CODE = ("*.json", "*.yaml", "*.html", "*.js")


def spans(page: str) -> Iterator[tuple[int, str]]:
    """Line and text of everything in backticks outside of fenced blocks."""
    blank = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), page)
    for number, line in enumerate(blank.splitlines(), 1):
        for span in _SPAN.findall(line):
            yield number, span


def unknown_paths(page: str) -> list[str]:
    """`line: path` for what looks like a path of this project and leads nowhere."""
    roots = {entry.name for entry in ROOT.iterdir()}
    ours = ((number, span) for number, span in spans(page) if _PATH.match(span) and span.split("/")[0] in roots)
    return [f"{number}: {span}" for number, span in ours if not (ROOT / span).exists()]


def unknown_names(page: str) -> list[str]:
    """`line: name` for everything in backticks that the code does not have."""
    return [f"{number}: {span}" for number, span in spans(page) if not is_known(span)]


def is_known(span: str) -> bool:
    """True when the code has it."""
    if call := _CALL.match(span):
        owner, name = call.groups()
        return name in _members().get(owner, ()) if owner and owner[0].isupper() else name in _functions()
    if member := _MEMBER.match(span):
        return member[2] in _members().get(member[1], ())
    if _CLASS.match(span):
        return span in _members() or f'"{span}"' in _text()
    if _PATH.match(span):
        return any((base / span).exists() for base in (ROOT, ROOT / "reconciler"))
    if span.startswith("make "):
        return f"\n{span.removeprefix('make ')}:" in (ROOT / "Makefile").read_text()
    return span in _modules() | _settings() or span.removeprefix("reconciler ") in _text()


def packages() -> list[str]:
    """Folders of every package inside reconciler, and of every other one, with a slash at the end."""
    found = {path.parent for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")}
    return sorted(f"{folder.relative_to(ROOT)}/" for folder in found - {ROOT / "reconciler"})


@cache
def sources() -> tuple[Path, ...]:
    """Every module of ours."""
    return tuple(path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file; nobody may change it."""
    return ast.parse(path.read_text())


@cache
def _trees() -> tuple[ast.Module, ...]:
    return tuple(parsed(path) for path in sources())


@cache
def _modules() -> frozenset[str]:
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources())
    return frozenset(name.removesuffix(".__init__") for name in dotted)


@cache
def _settings() -> frozenset[str]:
    return frozenset(key.name for key in describe_settings())


@cache
def _functions() -> frozenset[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for tree in _trees() for node in ast.walk(tree) if isinstance(node, kinds))


@cache
def _members() -> dict[str, set[str]]:
    """What each class declares in its body, by class; classes of one name together."""
    found: dict[str, set[str]] = {}
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(name for part in node.body for name in _declared(part))
    return found


def _declared(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@cache
def _text() -> str:
    """All of the code as text, in which table names, settings and the like occur."""
    also = (path for name in PACKAGES for pattern in _ALSO_CODE for path in (ROOT / name).rglob(pattern))
    return "\n".join(path.read_text() for path in (*sources(), *also, ROOT / "setup.cfg", ROOT / "Makefile"))
