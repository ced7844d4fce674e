"""How live systems are reached: child processes, Kubernetes APIs. Handed to kinds by the engine's wiring."""
