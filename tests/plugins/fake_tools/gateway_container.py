"""A container with a real HAProxy in it, as far as a recorded-contract `docker` can tell: a process of this host.

`gateway.json` in the state directory says `name`, `pid` of its master process, `program`, and `mounts` as docker shows
them. Which networks it is in stands where those of all containers do. Behaviours beside those of shared_engine:

    lie.docker-network-connect     it says that it connected, and did not
"""

# Every run is a process, and pathlib would take as long to import as all the rest:
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import os

from fake_tools import plain_json
from fake_tools.shared_engine import Engine, fail, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def gateway(engine: Engine) -> dict[str, Any] | None:
    """What the state directory says of it; None without one."""
    try:
        with open(engine.path("gateway.json")) as stream:
            found: dict[str, Any] = plain_json.loads(stream.read())
            return found
    except FileNotFoundError:
        return None


def inspected(engine: Engine, name: str, state: dict[str, Any]) -> dict[str, Any] | None:
    """As `docker inspect` shows it; None for any other name."""
    found = gateway(engine)
    if found is None or found["name"] != name:
        return None
    own = [network for network, one in sorted(state["networks"].items()) if name in one["attached"]]
    endpoints = {network: {"IPAddress": f"10.254.{index}.9", "IPPrefixLen": 16} for index, network in enumerate(own)}
    return {"Mounts": found["mounts"], "NetworkSettings": {"Networks": endpoints}, "State": {"Running": True}}


def connect(engine: Engine, arguments: list[str]) -> None:
    """docker network connect NETWORK CONTAINER"""
    _, (network, name) = options(arguments, {})
    with engine.changing() as state:
        if any(cluster["network"] == network for cluster in state["clusters"].values()):  # kind makes its own
            state["networks"].setdefault(network, {"subnet": "", "gateway": "", "bridge": "", "attached": []})
        if network not in state["networks"]:
            fail(f"Error response from daemon: network {network} not found")
        attached = state["networks"][network]["attached"]
        if name in attached:
            fail(f"Error response from daemon: endpoint with name {name} already exists in network {network}")
        if engine.behaviour("lie.docker-network-connect") is None:
            attached.append(name)


def execute(engine: Engine, arguments: list[str]) -> None:
    """docker exec -i CONTAINER haproxy -c -f /dev/stdin"""
    found = _known(engine, arguments[1])
    if arguments[2:] != ["haproxy", "-c", "-f", "/dev/stdin"]:
        fail(f'OCI runtime exec failed: exec: "{arguments[2]}": executable file not found in $PATH', 126)
    os.execv(found["program"], [found["program"], *arguments[3:]])


def kill(engine: Engine, arguments: list[str]) -> None:
    """docker kill --signal HUP CONTAINER"""
    import signal

    flags, (name,) = options(arguments, {"--signal": True})
    os.kill(_known(engine, name)["pid"], signal.Signals[f"SIG{flags['--signal'][0]}"])
    print(name)


def top(engine: Engine, arguments: list[str]) -> None:
    """docker top CONTAINER -eo pid,args"""
    found = _known(engine, arguments[0])
    assert arguments[1:] == ["-eo", "pid,args"]
    print("PID                 COMMAND")
    for pid in [found["pid"], *(int(pid) for pid in os.listdir("/proc") if pid.isdigit())]:
        if pid == found["pid"] or _parent(pid) == found["pid"]:
            print(f"{pid:<20}{_command(pid)}")


def _known(engine: Engine, name: str) -> dict[str, Any]:
    found = gateway(engine)
    if found is None or found["name"] != name:
        fail(f"Error response from daemon: No such container: {name}")
    if not os.path.exists(f"/proc/{found['pid']}"):  # noqa: PTH110 - as above
        fail(f"Error response from daemon: container {name} is not running")
    return found


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline") as stream:
        return stream.read().replace("\0", " ").strip()
