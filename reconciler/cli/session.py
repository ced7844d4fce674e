"""What one invocation shares: settings, and the engine once a command needs it. Made by `main`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.engine.dry_run import DryRun
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.runtime import Runtime
    from reconciler.engine.workspace import Workspace
    from reconciler.loading.settings import Settings
    from reconciler.store.database import Database
    from reconciler.transports.git_place import GitPlace

LEASE_WAIT = 10.0  # a daemon that works on the same resource is usually done by then


class NotConfirmed(click.Abort):
    """Somebody was asked, and said no."""


class Session:
    """One invocation of the command line."""

    def __init__(self, config: str | None, home: str | None, verbosity: int) -> None:
        self._config = config
        self._home = home
        self.verbosity = verbosity
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The settings, read at the first use."""
        if self._settings is None:
            from reconciler.loading.settings import load_settings  # noqa: PLC0415 - --help needs no settings

            environ = dict(os.environ)
            if self._home is not None:
                environ["RECONCILER_HOME"] = str(Path(self._home).absolute())
            self._settings = load_settings(Path(self._config) if self._config else None, environ)
        return self._settings

    def source(self, argument: str | None, asked: Mapping[str, Any]) -> Path | GitPlace | None:
        """Where specs come from: see `sources.source_of`. asked: the values of `sources.source_options`."""
        from reconciler.cli.sources import source_of  # noqa: PLC0415 - needs the settings, --help does not

        return source_of(self.settings, argument, asked)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The store alone, for commands that only look at it."""
        from reconciler.kinds import discover  # noqa: PLC0415 - sqlalchemy and the kinds, only for who reads the store
        from reconciler.loading.settings import ensure_home  # noqa: PLC0415
        from reconciler.store.schema import open_database  # noqa: PLC0415

        home = ensure_home(self.settings)
        folders = [package.folder for package in discover(self.settings.plugins).packages.values()]
        url = self.settings.db_url or f"sqlite:///{home / 'reconciler.db'}"
        database = open_database(url, folders, self.settings.busy_timeout)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def dry_run(self, command: str, variables: dict[str, Any] | None = None) -> Iterator[tuple[Runtime, DryRun]]:
        """The half of the engine that looks and decides, closed at the end."""
        from reconciler.engine.dry_run import DryRun  # noqa: PLC0415 - the engine, only for who plans or applies

        with self._runtime(command, variables) as runtime, closing(DryRun(runtime)) as engine:
            yield runtime, engine

    @contextmanager
    def engine(self, command: str, variables: dict[str, Any] | None = None) -> Iterator[tuple[Runtime, Reconciler]]:
        """The whole engine, closed at the end."""
        from reconciler.engine.reconcile import Reconciler  # noqa: PLC0415 - the engine, only for who plans or applies

        with self._runtime(command, variables) as runtime, closing(Reconciler(runtime, LEASE_WAIT)) as reconciler:
            yield runtime, reconciler

    def workspace(
        self, runtime: Runtime, specs: Path | GitPlace | None, asked: Mapping[str, Any] | None = None
    ) -> Workspace:
        """The desired state, fetched and loaded. asked: the values of `sources.source_options`."""
        from reconciler.cli.sources import fetch_source  # noqa: PLC0415 - the engine, only for who plans or applies
        from reconciler.engine.wiring import open_workspace  # noqa: PLC0415

        workspace = open_workspace(runtime, specs)
        if specs is not None and not isinstance(specs, Path):
            from reconciler.loading.git_source import GitSource  # noqa: PLC0415 - only for a git source

            assert isinstance(workspace.source, GitSource)
            fetch_source(workspace.source, self.settings, asked or {})
        workspace.load()
        return workspace

    @contextmanager
    def _runtime(self, command: str, variables: dict[str, Any] | None) -> Iterator[Runtime]:
        from reconciler.engine.wiring import open_runtime  # noqa: PLC0415 - the engine, only for who plans or applies

        self.log_to_stderr()
        runtime = open_runtime(self.settings, command, variables)
        try:
            yield runtime
        finally:
            runtime.database.close()

    def log_to_stderr(self) -> None:
        """Warnings and worse to stderr; more with -v."""
        import logging  # noqa: PLC0415 - 10 ms that --help does not need

        level = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO}.get(self.verbosity, logging.DEBUG)
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
