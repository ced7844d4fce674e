"""A recorded-contract `docker`: the commands that providers use, with the answers that Docker's documentation shows."""

# Every run is a process, and pathlib would take as long to import as all the rest:
# ruff: noqa: PTH119

from __future__ import annotations

import os
import time

from fake_tools import gateway_container, plain_json
from fake_tools.shared_engine import Engine, fail, options, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHARED_BASE = 172 << 24 | 18 << 16


def main(engine: Engine, arguments: list[str]) -> None:
    """One run."""
    known = sorted(_COMMANDS, key=len, reverse=True)
    words = next((words for words in known if arguments[: len(words)] == list(words)), None)
    if words is None:
        fail(f"docker: '{' '.join(arguments[:1])}' is not a docker command.", 125)
    engine.note(["docker", *arguments])
    engine.misbehave("-".join(("docker", *words)))
    _COMMANDS[words](engine, arguments[len(words) :])


def nodes_of(name: str, cluster: dict[str, Any]) -> list[tuple[str, str]]:
    """Container and role of every node of a cluster."""
    servers, agents = cluster["servers"], cluster["agents"]
    if cluster["tool"] == "k3d":
        found = [(f"k3d-{name}-server-{number}", "server") for number in range(servers)]
        found += [(f"k3d-{name}-agent-{number}", "agent") for number in range(agents)]
        return [*found, (f"k3d-{name}-serverlb", "loadbalancer")]
    found = [(f"{name}-control-plane{number or ''}", "control-plane") for number in (0, *range(2, servers + 1))]
    numbers = (0, *range(2, agents + 1)) if agents else ()
    return found + [(f"{name}-worker{number or ''}", "worker") for number in numbers]


def containers(engine: Engine, state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every container as `docker inspect` shows it, by name."""
    found: dict[str, dict[str, Any]] = {}
    for name, cluster in state["clusters"].items():
        label = "k3d.cluster" if cluster["tool"] == "k3d" else "io.x-k8s.kind.cluster"
        role_label = "k3d.role" if cluster["tool"] == "k3d" else "io.x-k8s.kind.role"
        for index, (container, role) in enumerate(nodes_of(name, cluster)):
            if cluster["half"] and index:
                continue
            limits = cluster["limits"].get(container, {})
            found[container] = {
                "Name": f"/{container}",
                "State": {"Running": cluster["running"], "Status": "running" if cluster["running"] else "exited"},
                "Config": {"Image": cluster["image"], "Env": ["K3S_TOKEN=token-that-nobody-may-see"]},
                "HostConfig": {"NanoCpus": limits.get("cpus", 0), "Memory": limits.get("memory", 0)},
                "NetworkSettings": {"Networks": _networks(engine, state, cluster, index)},
                "Labels": {label: name, role_label: role},
                "Cluster": name,
            }
    return found


def _networks(engine: Engine, state: dict[str, Any], cluster: dict[str, Any], index: int) -> dict[str, Any]:
    base, bits = _pool(state, cluster["network"])
    moved = 16 * cluster["starts"] if engine.behaviour("moves") is not None else 0
    address = _dotted(base + 2 + index + moved + cluster["number"] * 3) if cluster["running"] else ""
    missing = engine.behaviour("no-address")
    if missing is not None and (not missing or time.time() - cluster["made_at"] < float(missing)):
        address = ""
    found = {cluster["network"]: {"IPAddress": address, "IPPrefixLen": bits if address else 0}}
    if engine.behaviour("second-network") is not None:
        found = {"a-second-one": {"IPAddress": "172.18.0.6", "IPPrefixLen": 16}, **found}
    return found


def _pool(state: dict[str, Any], network: str) -> tuple[int, int]:
    subnet = state["networks"].get(network, {}).get("subnet") or "172.18.0.0/16"
    address, _, bits = subnet.partition("/")
    return _number(address), int(bits)


def _number(address: str) -> int:
    a, b, c, d = map(int, address.split("."))
    return a << 24 | b << 16 | c << 8 | d


def _dotted(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def _version(engine: Engine, arguments: list[str]) -> None:
    found, _ = options(arguments, {"--format": True})
    print(render(found["--format"][0], {"Server": {"Version": "28.3.3"}}))


def _info(engine: Engine, arguments: list[str]) -> None:
    found, _ = options(arguments, {"--format": True})
    print(render(found["--format"][0], {"DockerRootDir": engine.folder, "ServerVersion": "28.3.3"}))


def _network_inspect(engine: Engine, arguments: list[str]) -> None:
    found, names = options(arguments, {"--format": True})
    network = engine.read()["networks"].get(names[0])
    if network is None:
        fail(f"[]\nError response from daemon: network {names[0]} not found")
    config = [{"Subnet": network["subnet"], "Gateway": network["gateway"]}] if network["subnet"] else []
    attached = {f"id-{name}": {"Name": name} for name in network["attached"]}
    value = {"Name": names[0], "IPAM": {"Driver": "default", "Config": config}, "Containers": attached}
    print(render(found.get("--format", ["{{json .}}"])[0], value))


def _network_create(engine: Engine, arguments: list[str]) -> None:
    found, names = options(arguments, {"--subnet": True, "--gateway": True, "--opt": True})
    bridge = dict(opt.partition("=")[::2] for opt in found.get("--opt", ())).get("com.docker.network.bridge.name", "")
    subnet = found.get("--subnet", [""])[0]
    with engine.changing() as state:
        if names[0] in state["networks"]:
            fail(f"Error response from daemon: network with name {names[0]} already exists")
        if len(bridge) > 15:
            fail(f"Error response from daemon: failed to create bridge {bridge}: numerical result out of range")
        for other in state["networks"].values():
            if subnet and other["subnet"] and _overlap(subnet, other["subnet"]):
                fail("Error response from daemon: Pool overlaps with other one on this address space")
        gateway = found.get("--gateway", [""])[0]
        state["networks"][names[0]] = {"subnet": subnet, "gateway": gateway, "bridge": bridge, "attached": []}
    print("3f1c0ffee0")


def _overlap(one: str, other: str) -> bool:
    bits = min(int(one.partition("/")[2]), int(other.partition("/")[2]))
    return _number(one.partition("/")[0]) >> (32 - bits) == _number(other.partition("/")[0]) >> (32 - bits)


def _network_rm(engine: Engine, arguments: list[str]) -> None:
    with engine.changing() as state:
        network = state["networks"].get(arguments[0])
        if network is None:
            fail(f"Error response from daemon: network {arguments[0]} not found")
        used = network["attached"] or any(one["network"] == arguments[0] for one in state["clusters"].values())
        if used:
            fail(
                f"Error response from daemon: error while removing network: network {arguments[0]} has active endpoints"
            )
        del state["networks"][arguments[0]]
    print(arguments[0])


def _network_disconnect(engine: Engine, arguments: list[str]) -> None:
    _, (network, container) = options(arguments, {"--force": False})
    with engine.changing() as state:
        state["networks"][network]["attached"].remove(container)


def _inspect(engine: Engine, arguments: list[str]) -> None:
    found, names = options(arguments, {"--format": True})
    state = engine.read()
    container = containers(engine, state).get(names[0]) or gateway_container.inspected(engine, names[0], state)
    if container is None:
        fail(f"\nError: No such object: {names[0]}")
    print(render(found["--format"][0], container))


def _ps(engine: Engine, arguments: list[str]) -> None:
    found, _ = options(arguments, {"--all": False, "--filter": True, "--format": True})
    label, _, value = found["--filter"][0].removeprefix("label=").partition("=")
    for name, container in containers(engine, engine.read()).items():
        if container["Labels"].get(label) == value and ("--all" in found or container["State"]["Running"]):
            shown = {"Names": name, "State": container["State"]["Status"], "Labels": container["Labels"]}
            print(render(found["--format"][0].replace("\\t", "\t"), shown))


def _start(engine: Engine, arguments: list[str]) -> None:
    _power(engine, arguments, running=True)


def _stop(engine: Engine, arguments: list[str]) -> None:
    _power(engine, arguments, running=False)


def _power(engine: Engine, names: list[str], *, running: bool) -> None:
    with engine.changing() as state:
        known = containers(engine, state)
        for name in names:
            if name not in known:
                fail(f"Error response from daemon: No such container: {name}")
        for cluster in {known[name]["Cluster"] for name in names}:
            switch(engine, state, cluster, running=running)
    print("\n".join(names))


def switch(engine: Engine, state: dict[str, Any], name: str, *, running: bool) -> None:
    """Start or stop a cluster and its API."""
    cluster = state["clusters"][name]
    if cluster["running"] == running:
        return
    engine.ask_api("POST", f"/clusters/{engine.api_name(name)}/{'start' if running else 'stop'}")
    cluster["running"] = running
    cluster["starts"] += running


def _update(engine: Engine, arguments: list[str]) -> None:
    found, names = options(arguments, {"--cpus": True, "--memory": True, "--memory-swap": True})
    with engine.changing() as state:
        known = containers(engine, state)
        for name in names:
            if name not in known:
                fail(f"Error response from daemon: No such container: {name}")
            limits = state["clusters"][known[name]["Cluster"]]["limits"].setdefault(name, {})
            if "--cpus" in found:
                limits["cpus"] = round(float(found["--cpus"][0]) * 1e9)
            if "--memory" in found:
                text = found["--memory"][0]
                limits["memory"] = int(text[:-1]) * 1024 ** "bkmg".index(text[-1])
    print("\n".join(names))


def _image_inspect(engine: Engine, arguments: list[str]) -> None:
    _, names = options(arguments, {"--format": True})
    if names[0] not in engine.read()["images"]:
        fail(f"[]\nError response from daemon: No such image: {names[0]}")
    print("sha256:0123")


def _pull(engine: Engine, arguments: list[str]) -> None:
    if arguments[0].startswith("no-such"):
        fail(f"Error response from daemon: pull access denied for {arguments[0]}, repository does not exist")
    with engine.changing() as state:
        state["images"].append(arguments[0])
    print(f"Status: Downloaded newer image for {arguments[0]}")


def _exec(engine: Engine, arguments: list[str]) -> None:
    if arguments[0] == "-i":
        gateway_container.execute(engine, arguments)
    state = engine.read()
    container = containers(engine, state).get(arguments[0])
    if container is None or arguments[1:] != ["crictl", "images", "-o", "json"]:
        fail(f"Error response from daemon: No such container: {arguments[0]}")
    images = state["clusters"][container["Cluster"]]["images"]
    print(
        plain_json.dumps(
            {"images": [{"id": "sha256:0", "repoTags": [_full(name)], "repoDigests": []} for name in images]}
        )
    )


def _full(name: str) -> str:
    first, slash, _ = name.partition("/")
    full = name if slash and "." in first else f"registry.example/{'' if slash else 'library/'}{name}"
    return full if ":" in os.path.basename(full) else f"{full}:latest"


_COMMANDS = {
    ("version",): _version,
    ("info",): _info,
    ("network", "inspect"): _network_inspect,
    ("network", "create"): _network_create,
    ("network", "rm"): _network_rm,
    ("network", "connect"): gateway_container.connect,
    ("network", "disconnect"): _network_disconnect,
    ("inspect",): _inspect,
    ("ps",): _ps,
    ("start",): _start,
    ("stop",): _stop,
    ("update",): _update,
    ("image", "inspect"): _image_inspect,
    ("pull",): _pull,
    ("exec",): _exec,
    ("kill",): gateway_container.kill,
    ("top",): gateway_container.top,
}
