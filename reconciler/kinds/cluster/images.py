"""Putting images into a cluster on somebody's word, beside what its spec preloads. Called by `cluster load-image`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.errors import TerminalError
from reconciler.kind import Context
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.providers import in_containers, provider_named

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")


def load_images(name: str, images: Sequence[str], context: Context) -> None:
    """Pull what the host has not got, and put all of it into the nodes of the cluster. Hold its lease meanwhile.

    Raises TerminalError for what can have no images: no such cluster, one that does not run, one without nodes here.
    """
    wrong = [image for image in images if not _IMAGE.fullmatch(image)]
    if wrong:
        raise TerminalError("BadImage", f"{wrong[0]!r} is not the name of an image")
    row = rows.read(context.records, name)
    if row is None:
        raise TerminalError("NoSuchCluster", f"no cluster {name} is recorded")
    provider = provider_named(row["provider"])
    if not in_containers(provider):
        raise TerminalError("NoNodes", f"provider {provider.name} has no nodes on this host that could hold an image")
    found = provider.look(name, row, context)
    if found is None or found.state != "running":
        raise TerminalError("NotRunning", f"cluster {name} does not run")
    provider.load_images(name, images, context)
