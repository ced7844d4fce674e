"""The kinds: every folder here, and every module that the `plugins` setting names. Found by CLI, daemon and tests.

A kind's package has `KIND` in its `__init__`. It may have `tables.py` and `migrations/`, which the store finds by path,
`tables.json`, which says of those tables what a look needs to know, and `settings.json`, the JSON Schema of its section
of the settings.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from reconciler.errors import UsageError
from reconciler.kind import Kind, Recovery
from reconciler.kinds.guarded import GuardedKind
from reconciler.kinds.offers import Offers


@dataclass(frozen=True, slots=True)
class KindPackage:
    """A kind and where it was found. module: importable name of its package. folder: on disk.

    kind: wrapped, as everybody asks it. own: the kind itself, by which one sees what it offers beside.
    """

    kind: Kind
    module: str
    folder: Path
    own: Any

    @property
    def has_tables(self) -> bool:
        """True when the kind keeps tables of its own."""
        return (self.folder / "tables.py").is_file()

    @property
    def settings(self) -> Mapping[str, Any] | None:
        """The schema of its section of the settings; None where it has none. Raises UsageError for one that is none."""
        return self._document("settings.json")

    @property
    def table_keys(self) -> Mapping[str, Any] | None:
        """Its tables, each with the columns of its primary key; None where only `tables.py` says. Raises UsageError."""
        return self._document("tables.json")

    def _document(self, name: str) -> Mapping[str, Any] | None:
        path = self.folder / name
        try:
            document = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError("BadPlugin", f"{path} is no JSON: {error}") from error
        return document if isinstance(document, dict) else {}


class Kinds(Mapping[str, Kind]):
    """All kinds by name, with the packages behind them."""

    def __init__(self, packages: Iterable[KindPackage]) -> None:
        self.packages: dict[str, KindPackage] = {}
        for package in packages:
            other = self.packages.setdefault(package.kind.name, package)
            if other is not package:
                raise UsageError(
                    "DuplicateKind", f"{package.module} and {other.module} both define kind {package.kind.name}"
                )

    def offering(self, protocol: type[object]) -> dict[str, Offers]:
        """Each kind that has an optional protocol of `kind`, by name; only that protocol's methods may be called."""
        packages = self.packages.items()
        return {name: Offers(package.own) for name, package in packages if isinstance(package.own, protocol)}

    def __getitem__(self, name: str) -> Kind:
        return self.packages[name].kind

    def __iter__(self) -> Iterator[str]:
        return iter(self.packages)

    def __len__(self) -> int:
        return len(self.packages)


def discover(plugins: Iterable[str] = ()) -> Kinds:
    """Every kind of this folder and of the named modules. Raises UsageError for a module that is no kind."""
    names = [f"{__name__}.{entry.name}" for entry in pkgutil.iter_modules(__path__) if entry.ispkg]
    return Kinds(_load(name) for name in (*sorted(names), *plugins))


def _load(module_name: str) -> KindPackage:
    try:
        module = importlib.import_module(module_name)
        kind: Kind = module.KIND
    except (ImportError, AttributeError) as error:
        raise UsageError("BadPlugin", f"{module_name} is not a kind: {error}") from error
    if kind.recovery not in get_args(Recovery):
        known = ", ".join(get_args(Recovery))
        raise UsageError("BadPlugin", f"{module_name}: recovery {kind.recovery!r} is none of {known}")
    if module.__file__ is None:
        raise UsageError("BadPlugin", f"{module_name} is not a package with a file")
    return KindPackage(GuardedKind(kind), module_name, Path(module.__file__).parent, kind)
