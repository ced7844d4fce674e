"""Deciding, without I/O: differences, order, plans. Called by the engine, and by tests with plain data."""
