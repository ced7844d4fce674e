"""A folder of specs and a loader for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.loading.loader import DirectorySource, Loader, LoadOptions, LoadResult
from reconciler.model.resource import Resource, ResourceRef
from tests.loading.kinds_for_tests import KINDS


def widget(name: str, spec: str = "size: 1", lifecycle: str = "{}") -> str:
    """A document of six lines: `lifecycle` on line 4, the spec's fields from line 6 on."""
    return (
        f"apiVersion: reconciler.dev/v1\nkind: Widget\nmetadata: {{name: {name}}}\n"
        f"lifecycle: {lifecycle}\nspec:\n  {spec}\n"
    )


def vault(spec: str) -> str:
    """A document with one field of a Vault's spec on line 5."""
    return f"apiVersion: reconciler.dev/v1\nkind: Vault\nmetadata: {{name: v}}\nspec:\n  {spec}\n"


def ref(name: str) -> ResourceRef:
    return ResourceRef("Widget", name)


def messages(result: LoadResult) -> list[str]:
    """Problems with the names of their files alone."""
    return [f"{Path(one.path).name}:{one.line}:{one.column}: {one.message}" for one in result.problems]


class CountingSource(DirectorySource):
    """A folder that remembers what was read from it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[str] = []

    def read(self, path: str, limit: int = 10_000_000) -> bytes:
        self.reads.append(path)
        return super().read(path, limit)


@dataclass
class Specs:
    """A folder of specs. options: those of the loader that `load` makes at its first call."""

    root: Path
    options: dict[str, Any] = field(default_factory=dict)
    _loader: Loader | None = None
    _source: CountingSource | None = None

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def owner(self, name: str) -> str:
        return f"file:{self.root / name}"

    @property
    def source(self) -> CountingSource:
        if self._source is None:
            self._source = CountingSource(self.root)
        return self._source

    def load(self) -> LoadResult:
        """With the same loader each time."""
        if self._loader is None:
            self._loader = Loader(self.source, KINDS, LoadOptions(digest_key=b"key", **self.options))
        return self._loader.load()

    def load_afresh(self) -> LoadResult:
        """With a loader that has seen nothing."""
        return Loader(DirectorySource(self.root), KINDS, LoadOptions(digest_key=b"key", **self.options)).load()

    def problem(self) -> str:
        """The only problem of the folder, seen afresh."""
        (message,) = messages(self.load_afresh())
        return message

    def resource(self) -> Resource:
        """The only resource of the folder, seen afresh; there is no problem."""
        result = self.load_afresh()
        assert messages(result) == []
        (resource,) = result.resources.values()
        return resource


@pytest.fixture
def specs(tmp_path: Path) -> Specs:
    root = tmp_path / "specs"
    root.mkdir()
    return Specs(root)


@pytest.fixture
def specs_with(tmp_path: Path) -> Callable[..., Specs]:
    """A folder whose loader has options."""

    def make(**options: Any) -> Specs:
        root = tmp_path / "specs"
        root.mkdir(exist_ok=True)
        return Specs(root, options)

    return make
