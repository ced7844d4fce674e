"""Follows every page that a selected test asks for, side by side, before the first of them looks at what came of it."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from forking import fork_on_path
from prepared import put_schemas
from transcripts import ROOT, Followed, Reader

SIDE_BY_SIDE = 2
_MAKE = f'make() {{ command make --no-print-directory --dry-run -C "{ROOT}" "$@" > /dev/null; }}\n'
"""`make demo` and `make test` themselves are run by continuous integration: here it is enough that they exist."""


@pytest.fixture(scope="session")
def followed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Followed]:
    """Every page that a selected test has as its parameter `readme`, followed in a folder and a home of its own."""
    chosen = [item.callspec.params.get("readme") for item in request.session.items if hasattr(item, "callspec")]
    pages = sorted({page for page in chosen if isinstance(page, str)})
    programs = tmp_path_factory.mktemp("programs")
    fork_on_path(programs)
    folders = [tmp_path_factory.mktemp("page") for _ in pages]
    for folder in folders:
        put_schemas(folder / "home")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as readers:
        results = readers.map(lambda page, folder: _follow(ROOT / page, folder, programs), pages, folders)
        return dict(zip(pages, results, strict=True))


def _follow(page: Path, scratch: Path, programs: Path) -> Followed:
    """The README stands alone, with the installed program; an example is followed in a copy of its folder, by forks."""
    folder, home = scratch / "work", scratch / "home"
    if page.parent == ROOT:
        folder.mkdir()
        shutil.copy(page, folder)
        reader = Reader(folder, home, _MAKE, _look_at_page)
    else:
        shutil.copytree(page.parent, folder)
        reader = Reader(folder, home, _MAKE, _look_at_page, programs)
    try:
        return Followed(reader.follow(folder / page.name), "")
    except AssertionError as error:
        return Followed(0, str(error))
    finally:
        reader.end()


def _look_at_page(printed: str) -> None:
    """The address that a daemon announced answers, and the daemon is well."""
    address = printed.partition("page: ")[2].split()[0]
    for path in ("/", "/healthz"):
        with urllib.request.urlopen(address + path, timeout=20) as answer:
            if answer.status != 200:
                raise AssertionError(f"{address}{path} answers {answer.status}")
