"""The container that HAProxy runs in: which networks it is in, and which files it sees. Called by `attachments.route`.

It is looked at before anything is done and again afterwards: that `docker network connect` fails for a container that
is connected already says nothing, and that it succeeds says little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.kinds.cluster.providers.docker import Tools, parsed, valid_address


def is_attached(container: str, network: str, context: Context) -> bool:
    """Whether the container has an address in the network."""
    networks: Mapping[str, Any] = _inspected(container, "{{json .NetworkSettings.Networks}}", context) or {}
    endpoint = networks.get(network)
    return endpoint is not None and valid_address(endpoint.get("IPAddress")) is not None


def attach(container: str, network: str, context: Context) -> bool:
    """The container is in the network; whether it had to be connected. Raises TransientError when it is not."""
    if is_attached(container, network, context):
        return False
    try:
        Tools(context, "docker").do("docker", "network", "connect", network, container)
    except UnreachableError:
        raise
    except TransientError:
        if not is_attached(container, network, context):  # else somebody else did it at the same moment
            raise
    if not is_attached(container, network, context):
        raise TransientError("NotAttached", f"{container} was connected to {network} and has no address in it")
    return True


def is_mounted(container: str, file: str, context: Context) -> bool:
    """Whether exactly this file of the host is mounted in the container, and not a folder that it is in."""
    mounts = _inspected(container, "{{json .Mounts}}", context) or ()
    return any(one.get("Source") == file for one in mounts)


def _inspected(container: str, form: str, context: Context) -> Any:
    done = Tools(context, "docker").look("docker", "inspect", container, "--format", form)
    if done.returncode:
        raise UnreachableError("NoHaproxy", f"container {container} cannot be looked at: {done.last_lines(1)}")
    return parsed(done.stdout, done.argv)
