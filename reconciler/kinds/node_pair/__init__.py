"""The kind `NodePair`: two nodes that are upgraded one after the other, with the rsync between them under control."""

from __future__ import annotations

from reconciler.kinds.node_pair.kind import NodePairKind

KIND = NodePairKind()
