"""Recorded-contract `k3d` and `kind`: they print what their sources print; behind each cluster is a real API."""

# Every run is a process, and pathlib would take as long to import as all the rest:
# ruff: noqa: PTH103, PTH116, PTH118, PTH120, PTH123

from __future__ import annotations

import binascii
import os
import time

from fake_tools import plain_json
from fake_tools.docker_tool import containers, nodes_of, switch
from fake_tools.shared_engine import Engine, fail, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

K3D_CREATE = {
    "--image": True,
    "--network": True,
    "--k3s-arg": True,
    "--servers": True,
    "--agents": True,
    "--port": True,
}


def k3d(engine: Engine, arguments: list[str]) -> None:
    """One run of k3d."""
    words, rest = (arguments[:1], arguments[1:]) if arguments[:1] == ["version"] else (arguments[:2], arguments[2:])
    engine.note(["k3d", *arguments], kubeconfig=os.environ.get("KUBECONFIG"))
    engine.misbehave("-".join(("k3d", *words)))
    _K3D[tuple(words)](engine, rest)


def kind(engine: Engine, arguments: list[str]) -> None:
    """One run of kind."""
    words, rest = (arguments[:1], arguments[1:]) if arguments[:1] == ["version"] else (arguments[:2], arguments[2:])
    config = _config(arguments)
    engine.note(["kind", *arguments], kubeconfig=os.environ.get("KUBECONFIG"), **config)
    engine.misbehave("-".join(("kind", *words)))
    _KIND[tuple(words)](engine, rest)


def _config(arguments: list[str]) -> dict[str, Any]:
    if "--config" not in arguments:
        return {}
    path = arguments[arguments.index("--config") + 1]
    with open(path) as stream:
        return {"config": stream.read(), "mode": oct(os.stat(path).st_mode & 0o777)}


def _create(engine: Engine, command: str, name: str, cluster: dict[str, Any]) -> None:
    """Make a cluster, or as much of it as `behave` allows."""
    half = engine.behaviour(f"half.{command}")
    if engine.behaviour(f"lie.{command}") is not None:
        return
    with engine.changing() as state:
        number = max((one["number"] for one in state["clusters"].values()), default=-1) + 1
        fixed = {"limits": {}, "images": [], "starts": 0, "number": number, "made_at": time.time()}
        state["clusters"][name] = {**cluster, **fixed, "half": True, "running": False}
    if half == "hang":
        time.sleep(3600)
    if half is not None:
        fail("Failed Cluster Start: failed to start server: node never became ready")
    sizes = {"servers": cluster["servers"], "agents": cluster["agents"], "version": "1.31.5"}
    engine.ask_api("PUT", f"/clusters/{engine.api_name(name)}", sizes)
    with engine.changing() as state:
        state["clusters"][name] |= {"half": False, "running": True}
    _write_default(engine, name)


def _write_default(engine: Engine, name: str) -> None:
    """Both tools write into the default kubeconfig, and so does this."""
    path = os.environ.get("KUBECONFIG") or os.path.join(os.environ["HOME"], ".kube", "config")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as stream:
        stream.write(_kubeconfig(engine, name))


def _kubeconfig(engine: Engine, name: str) -> str:
    """As the tools print it, with a server that listens on every address."""
    cluster = engine.read()["clusters"][name]
    api = engine.ask_api("GET", f"/clusters/{engine.api_name(name)}")
    port = 1 if engine.behaviour("deaf") is not None else api["port"]
    called = f"{cluster['tool']}-{name}"
    user = f"admin@{called}" if cluster["tool"] == "k3d" else called
    ca = binascii.b2a_base64(api["caData"].encode(), newline=False).decode()
    return f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {ca}
    server: https://0.0.0.0:{port}
  name: {called}
contexts:
- context:
    cluster: {called}
    user: {user}
  name: {called}
current-context: {called}
kind: Config
preferences: {{}}
users:
- name: {user}
  user:
    token: {api["token"]}
"""


def _existing(engine: Engine, tool: str) -> dict[str, Any]:
    return {name: one for name, one in engine.read()["clusters"].items() if one["tool"] == tool}


def _remove(engine: Engine, name: str) -> None:
    engine.ask_api("DELETE", f"/clusters/{engine.api_name(name)}")
    with engine.changing() as state:
        state["clusters"].pop(name, None)


def _k3d_create(engine: Engine, arguments: list[str]) -> None:
    found, (name,) = options(arguments, K3D_CREATE)
    if name in _existing(engine, "k3d"):
        fail(f"FATA[0000] Failed to create cluster '{name}' because a cluster with that name already exists")
    network = found["--network"][0]
    with engine.changing() as state:
        blank = {"subnet": "", "gateway": "", "bridge": "", "attached": []}
        state["networks"].setdefault(network, blank)
    cluster = {
        "tool": "k3d",
        "image": found["--image"][0],
        "network": network,
        "servers": int(found["--servers"][0]),
        "agents": int(found["--agents"][0]),
    }
    _create(engine, "k3d-cluster-create", name, cluster)
    print(f"INFO[0012] Cluster '{name}' created successfully!")


def _k3d_list(engine: Engine, arguments: list[str]) -> None:
    options(arguments, {"-o": True})
    state = engine.read()
    there = containers(engine, state)
    listed = []
    for name, cluster in sorted(_existing(engine, "k3d").items()):
        nodes = [
            {
                "name": container,
                "role": role,
                "image": cluster["image"],
                "env": ["K3S_TOKEN=token-that-nobody-may-see"],
                "State": {"Running": cluster["running"], "Status": "running" if cluster["running"] else "exited"},
            }
            for container, role in nodes_of(name, cluster)
            if container in there
        ]
        counts = {"serversCount": cluster["servers"], "agentsCount": cluster["agents"]}
        listed.append({"name": name, "network": {"name": cluster["network"]}, "nodes": nodes, **counts})
    print(plain_json.dumps(listed))


def _k3d_delete(engine: Engine, arguments: list[str]) -> None:
    if arguments[0] in _existing(engine, "k3d"):
        _remove(engine, arguments[0])
    print(f"INFO[0001] Successfully deleted cluster {arguments[0]}!")


def _k3d_start(engine: Engine, arguments: list[str]) -> None:
    _k3d_power(engine, arguments[0], running=True)


def _k3d_stop(engine: Engine, arguments: list[str]) -> None:
    _k3d_power(engine, arguments[0], running=False)


def _k3d_power(engine: Engine, name: str, *, running: bool) -> None:
    if name not in _existing(engine, "k3d"):
        fail("FATA[0000] No nodes found for given cluster")
    with engine.changing() as state:
        switch(engine, state, name, running=running)


def _k3d_kubeconfig(engine: Engine, arguments: list[str]) -> None:
    cluster = _existing(engine, "k3d").get(arguments[0])
    if cluster is None or cluster["half"]:
        fail("FATA[0000] failed to get cluster: No nodes found for given cluster")
    print("---\n" + _kubeconfig(engine, arguments[0]))


def _k3d_import(engine: Engine, arguments: list[str]) -> None:
    found, images = options(arguments, {"-c": True})
    _load(engine, found["-c"][0], images)


def _load(engine: Engine, name: str, images: list[str]) -> None:
    with engine.changing() as state:
        for image in images:
            if image not in state["images"]:
                fail(f'ERROR: image: "{image}" not present locally')
        state["clusters"][name]["images"] += images


def _kind_create(engine: Engine, arguments: list[str]) -> None:
    found, _ = options(arguments, {"--name": True, "--config": True, "--image": True})
    name = found["--name"][0]
    if name in _existing(engine, "kind"):
        fail(f'ERROR: failed to create cluster: node(s) already exist for a cluster with the name "{name}"')
    with open(found["--config"][0]) as stream:
        roles = [line.split()[-1] for line in stream if line.startswith("- role:")]
    cluster = {
        "tool": "kind",
        "image": found["--image"][0],
        "network": "kind",
        "servers": roles.count("control-plane"),
        "agents": roles.count("worker"),
    }
    _create(engine, "kind-create-cluster", name, cluster)


def _kind_clusters(engine: Engine, arguments: list[str]) -> None:
    names = sorted(_existing(engine, "kind"))
    if not names:
        os.write(2, b"No kind clusters found.\n")
    for name in names:
        print(name)


def _kind_kubeconfig(engine: Engine, arguments: list[str]) -> None:
    found, _ = options(arguments, {"--name": True})
    cluster = _existing(engine, "kind").get(found["--name"][0])
    if cluster is None or cluster["half"]:
        fail(f'ERROR: could not locate any control plane nodes for cluster named "{found["--name"][0]}"')
    print(_kubeconfig(engine, found["--name"][0]))


def _kind_delete(engine: Engine, arguments: list[str]) -> None:
    found, _ = options(arguments, {"--name": True})
    if found["--name"][0] in _existing(engine, "kind"):
        _remove(engine, found["--name"][0])
    os.write(2, f'Deleting cluster "{found["--name"][0]}" ...\n'.encode())


def _kind_load(engine: Engine, arguments: list[str]) -> None:
    found, images = options(arguments, {"--name": True})
    _load(engine, found["--name"][0], images)


def _k3d_version(engine: Engine, arguments: list[str]) -> None:
    print("k3d version v5.8.3\nk3s version v1.31.5-k3s1 (default)")


def _kind_version(engine: Engine, arguments: list[str]) -> None:
    print("kind v0.30.0 go1.24.6 linux/amd64")


_K3D = {
    ("cluster", "create"): _k3d_create,
    ("cluster", "list"): _k3d_list,
    ("cluster", "delete"): _k3d_delete,
    ("cluster", "start"): _k3d_start,
    ("cluster", "stop"): _k3d_stop,
    ("kubeconfig", "get"): _k3d_kubeconfig,
    ("image", "import"): _k3d_import,
    ("version",): _k3d_version,
}
_KIND = {
    ("create", "cluster"): _kind_create,
    ("get", "clusters"): _kind_clusters,
    ("get", "kubeconfig"): _kind_kubeconfig,
    ("delete", "cluster"): _kind_delete,
    ("load", "docker-image"): _kind_load,
    ("version",): _kind_version,
}
