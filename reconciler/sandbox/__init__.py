"""A local Kubernetes API, kept in SQLite: the embedded default under the `Cluster` kind and the ground that tests
stand on.

It is a process of its own (`python -m reconciler.sandbox serve --home DIR`), one for all sandbox clusters of a home. It
stands beside the import chain: nothing here imports the engine, the store or a kind. docs/sandbox.md says what it is
and what it is not.

    __main__ → service → admin (Unix socket)      one app for creating, scaling, stopping and deleting clusters
                       → api (TLS, one port each) → verbs → state → storage
    pure: fields · schema · validation · patches · strategic · fieldsets · apply · selectors · tables · objects
"""
