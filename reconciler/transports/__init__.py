"""How live systems are reached: child processes, Kubernetes APIs, git. Handed to kinds by the engine's wiring."""
