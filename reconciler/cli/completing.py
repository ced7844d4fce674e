"""What Tab offers after a command: what the store and the home know. Used by click, through `shell_complete`.

It has to be there at once, so the database is read with the driver alone, and whatever is wrong means no offer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from reconciler.loading.settings import Settings

_MOST = 1000


def complete_ref(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """`Kind/name` of remembered resources."""
    return _stored(ctx, "SELECT DISTINCT kind || '/' || name AS name FROM resources", incomplete)


def complete_kind(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Kinds of remembered resources."""
    return _stored(ctx, "SELECT DISTINCT kind AS name FROM resources", incomplete)


def complete_name_of(kind: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Names of remembered resources of a kind."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        return _stored(ctx, f"SELECT name FROM resources WHERE kind = '{kind}'", incomplete)  # noqa: S608 - a kind of ours

    return complete


def complete_kind_or_ref(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Kinds, and resources once a kind is there."""
    return complete_ref(ctx, _param, incomplete) if "/" in incomplete else complete_kind(ctx, _param, incomplete)


def complete_host(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Hosts that the home trusts, as known_hosts calls them."""
    try:
        lines = (_settings(ctx).home / "known_hosts").read_text().splitlines()
    except Exception:  # noqa: BLE001 - nothing may be printed between somebody's keys
        return []
    first = [line.split()[0] for line in lines if line.strip() and line[0] not in "#@|"]
    return sorted({name for names in first for name in names.split(",") if name.startswith(incomplete)})[:_MOST]


def _stored(ctx: click.Context, query: str, incomplete: str) -> list[str]:
    import sqlite3  # noqa: PLC0415 - only while somebody presses Tab

    try:
        with closing(sqlite3.connect(f"file:{_database(ctx)}?mode=ro", uri=True, timeout=0.2)) as connection:
            chosen = f"SELECT name FROM ({query}) WHERE substr(name, 1, ?) = ? ORDER BY 1 LIMIT ?"  # noqa: S608 - ours
            return [name for (name,) in connection.execute(chosen, (len(incomplete), incomplete, _MOST))]
    except Exception:  # noqa: BLE001 - nothing may be printed between somebody's keys
        return []


def _database(ctx: click.Context) -> Path:
    settings = _settings(ctx)
    return Path(settings.db_url.removeprefix("sqlite:///")) if settings.db_url else settings.home / "reconciler.db"


def _settings(ctx: click.Context) -> Settings:
    from reconciler.loading.settings import load_settings  # noqa: PLC0415 - only while somebody presses Tab

    given = ctx.find_root().params
    environ = dict(os.environ)
    if given.get("home"):
        environ["RECONCILER_HOME"] = str(Path(given["home"]).absolute())
    return load_settings(Path(given["config"]) if given.get("config") else None, environ)
