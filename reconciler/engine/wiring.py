"""Putting the engine together from settings: kinds, database, keys, tables. Called by CLI and daemon."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.engine.runtime import Runtime
from reconciler.engine.workspace import Workspace
from reconciler.errors import UsageError
from reconciler.kinds import Kinds, discover
from reconciler.loading.loader import Loader
from reconciler.loading.settings import Settings, digest_key, ensure_home
from reconciler.loading.sources import DirectorySource
from reconciler.store.owners import Owner
from reconciler.store.remembered import living
from reconciler.store.schema import open_database
from reconciler.transports.git_place import GitPlace

if TYPE_CHECKING:
    from sqlalchemy import Table

    from reconciler.store.kind_rows import Keys


def open_runtime(settings: Settings, command: str, variables: Mapping[str, Any] | None = None) -> Runtime:
    """Everything that a command needs to plan and apply. command: what this process is, for lease holders' names."""
    home = ensure_home(settings)
    kinds = discover(settings.plugins)
    folders = [package.folder for package in kinds.packages.values()]
    url = settings.db_url or f"sqlite:///{home / 'reconciler.db'}"
    database = open_database(url, folders, settings.busy_timeout)
    return Runtime(
        settings=settings,
        kinds=kinds,
        database=database,
        owner=Owner.this_process(command),
        key=digest_key(home),
        home=home,
        tables=KindTables(kinds),
        keys=KindKeys(kinds),
        variables=variables or {},
    )


def open_workspace(runtime: Runtime, specs: Path | GitPlace | None) -> Workspace:
    """The desired state of a folder or file, or of a git repository, and of the API. None: of the API alone.

    A git repository is read as it was fetched last; nothing is fetched here.
    """
    workspace = Workspace(runtime)
    if specs is None:
        return workspace
    options = runtime.load_options(Known(workspace))
    if isinstance(specs, GitPlace):
        from reconciler.loading.git_source import open_git_source, restricted  # noqa: PLC0415 - only for a git source

        workspace.source = open_git_source(runtime.settings, specs, runtime.shutting_down)
        workspace.prefixes = (specs.prefix,)
        options = restricted(options, runtime.settings.git)
    else:
        workspace.source = DirectorySource(specs)
        workspace.prefixes = (_prefix(specs),)
    workspace.loader = Loader(workspace.source, runtime.kinds, options)
    return workspace


class Known:
    """References that exist outside the folder: the store's other resources. Callable, for the loader."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __call__(self) -> Sequence[Any]:
        """Every remembered resource that did not vanish."""
        with self._workspace.runtime.database.reading() as connection:
            return list(living(connection))


def _prefix(specs: Path) -> str:
    absolute = specs.resolve()
    return f"file:{absolute}/" if absolute.is_dir() or not absolute.exists() else f"file:{absolute}"


class KindTables(Mapping[str, "Mapping[str, Table]"]):
    """The tables of every kind that declares some, by kind and table name. A kind's are loaded when first asked for."""

    def __init__(self, kinds: Kinds) -> None:
        packages = kinds.packages.items()
        self._modules = {name: f"{package.module}.tables" for name, package in packages if package.has_tables}
        self._checked: set[str] = set()

    def __getitem__(self, name: str) -> Mapping[str, Table]:
        tables: Mapping[str, Table] = importlib.import_module(self._modules[name]).metadata.tables
        if name not in self._checked:
            _check_columns(self._modules[name], tables)
            self._checked.add(name)
        return tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


class KindKeys(Mapping[str, "Keys"]):
    """The primary keys of every kind's tables, by kind and table name: all that reading them needs.

    As the kind's `tables.json` says, which imports nothing; without one its tables are loaded.
    """

    def __init__(self, kinds: Kinds) -> None:
        self._packages = {name: package for name, package in kinds.packages.items() if package.has_tables}
        self._tables = KindTables(kinds)
        self._known: dict[str, Keys] = {}

    def __getitem__(self, name: str) -> Keys:
        if name not in self._known:
            written = self._packages[name].table_keys
            self._known[name] = primary_keys(self._tables[name]) if written is None else written
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packages)

    def __len__(self) -> int:
        return len(self._packages)


def _check_columns(module: str, tables: Mapping[str, Table]) -> None:
    """Raises UsageError for a column whose values would be others in Python than in the database."""
    for column in (column for table in tables.values() for column in table.columns):
        if column.type.python_type not in (int, float, str, bytes):
            message = f"{module}: {column} is of type {column.type!r}, but tables hold numbers, texts and bytes only"
            raise UsageError("BadPlugin", message)


def primary_keys(tables: Mapping[str, Table]) -> dict[str, list[str]]:
    """The columns of each table's primary key, in their order."""
    return {name: [column.name for column in table.primary_key.columns] for name, table in tables.items()}
