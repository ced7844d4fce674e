"""The engine: one way from a loaded resource to an applied one, for CLI, daemon and API alike."""
