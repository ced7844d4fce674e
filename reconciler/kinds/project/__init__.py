"""The kind `Project`: a git repository and the Flux objects that deploy its environments.

kind         what the engine asks                plan_steps   which steps a change has
looking      what is there                       steps        what each step does
spec         the document, typed                 rows         the tables of `tables`
objects      the Kubernetes objects, pure        forges/      repositories at GitHub and GitLab
templates/   what an empty repository is filled with          preflight, flux_install, repositories …
"""

from __future__ import annotations

from reconciler.kinds.project.kind import ProjectKind

KIND = ProjectKind()
