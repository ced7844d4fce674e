"""How live systems are reached: child processes, Kubernetes APIs. Handed to kinds by the engine's wiring."""

FIELD_MANAGER = "reconciler"
"""The name under which we own fields of Kubernetes objects."""
