"""The only source of truth for what was applied: SQLite through SQLAlchemy Core, one module an aggregate."""
