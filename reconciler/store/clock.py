"""The database's clock: the one clock that all processes share. Used by `Database.now` and by the views."""

from __future__ import annotations

from sqlalchemy import Connection, Double, literal_column, select

_CLOCKS = {"sqlite": "(julianday('now') - 2440587.5) * 86400.0"}
_ELSEWHERE = "UNIX_TIMESTAMP(NOW(6))"


def now_of(connection: Connection) -> float:
    """Seconds since the epoch."""
    clock = literal_column(_CLOCKS.get(connection.dialect.name, _ELSEWHERE), Double)
    return float(connection.execute(select(clock)).scalar_one())
