"""The table `application_sets`: where each set is, and what was last seen of it.

The place is written before anything is applied there, so that a set is found again when the wanted place changes.
"""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

from reconciler.store.tables import NAMING, LongText

metadata = MetaData(naming_convention=NAMING)

application_sets = Table(
    "application_sets",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("cluster", String(63), nullable=False),
    Column("namespace", String(63), nullable=False),
    Column("elements", LongText, doc="JSON: names of the clusters that it had an element for when it was last seen"),
)
