"""Every folder of examples/ runs as its README says, and everything that we ship as a spec is valid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from transcripts import ROOT, Followed

from reconciler.kinds import discover
from reconciler.loading.loader import Loader, LoadOptions
from reconciler.loading.sources import DirectorySource

DEMO = "demo"  # `make demo` runs it
PAGES = sorted(
    f"examples/{folder.name}/README.md"
    for folder in (ROOT / "examples").iterdir()
    if folder.is_dir() and folder.name != DEMO
)
SPECS = ["specs", *(str(Path(page).parent / "specs") for page in PAGES)]


@pytest.mark.parametrize("readme", PAGES)
def test_an_example_does_what_its_readme_says(followed: Mapping[str, Followed], readme: str) -> None:
    assert not followed[readme].problem, followed[readme].problem
    assert followed[readme].commands >= 3


def test_the_demo_is_what_make_runs() -> None:
    assert f"examples/{DEMO}/demo.py" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("folder", SPECS)
def test_specs_are_valid(folder: str, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    options = LoadOptions(variables={"kubeconfig": str(kubeconfig)}, digest_key=b"test")
    result = Loader(DirectorySource(ROOT / folder), discover(), options).load()
    assert [str(problem) for problem in result.problems] == []
    assert result.resources


def test_the_readme_names_every_example() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page for page in PAGES if f"({Path(page).parent})" not in readme] == []
