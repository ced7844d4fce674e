"""The kind `ApplicationSet`: one application in every cluster that is selected, by Argo CD in the management cluster.

kind      what the engine asks              spec      the document, typed, and what must not stand in it
elements  which clusters, as elements       manifest  the object that Argo CD reads
place     in which cluster it lives         looking   what is there            steps   what each step does
"""

from __future__ import annotations

from reconciler.kinds.application_set.kind import ApplicationSetKind

KIND = ApplicationSetKind()
