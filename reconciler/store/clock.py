"""The database's clock: the one clock that all processes share. Used by `Database.now` and by the views."""

from __future__ import annotations

from sqlalchemy import Connection, Double, literal_column, select

_CLOCKS = {"sqlite": literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)}
_ELSEWHERE = literal_column("UNIX_TIMESTAMP(NOW(6))", Double)
_SELECTS = {dialect: select(clock) for dialect, clock in _CLOCKS.items()}
_SELECT_ELSEWHERE = select(_ELSEWHERE)


def now_of(connection: Connection) -> float:
    """Seconds since the epoch."""
    return float(connection.execute(_SELECTS.get(connection.dialect.name, _SELECT_ELSEWHERE)).scalar_one())
