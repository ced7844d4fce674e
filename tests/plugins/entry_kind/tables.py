"""One table: a number for each entry, allocated in the transaction that writes the row."""

from sqlalchemy import Column, Integer, MetaData, String, Table

metadata = MetaData()
entries = Table(
    "entries",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("writes", Integer, nullable=False, default=0),
)
