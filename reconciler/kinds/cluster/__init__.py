"""The kind `Cluster`: Kubernetes clusters that are made, kept, and deleted, or taken as they are (provider `existing`).

kind          what the engine asks          plan_steps  which steps a change has
looking       what is there                 steps       what each step does
spec          the document, typed           rows        the table `clusters`, along the edges of `states`
manifests     objects that shall be there   live        what of a live object is compared with its manifest
providers/    how clusters come to be       changing    what all steps share
images        images on somebody's word     container_steps  what only nodes in containers need
kubeconfigs, sandbox_admin, reserving, ports, wishes …
"""

from __future__ import annotations

from reconciler.kinds.cluster.images import load_images as load_images
from reconciler.kinds.cluster.kind import ClusterKind
from reconciler.kinds.cluster.rows import kubeconfig_of as kubeconfig_of

KIND = ClusterKind()
