"""The docker engine of this host and the tools that work with it, as command lines with deadlines. For kind, k3d.

An engine that does not answer is unreachable, never empty. Names are compared whole: no command here filters by a
part of a name. What prints secrets (nodes have tokens in their environment) is read privately: neither logged nor
quoted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from reconciler.errors import TerminalError, TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.kinds.cluster.providers import Container

if TYPE_CHECKING:
    from reconciler.transports.process import Completed

LOOK_TIMEOUT = 20.0
CHANGE_TIMEOUT = 120.0
PULL_TIMEOUT = 600.0
PULL_PAUSES = (2.0, 4.0)
NEEDED_BYTES = 2_000_000_000
_PRESSURE = 0.1
_PASSED_ON = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_ENGINE_DOWN = re.compile(
    r"cannot connect to the docker daemon|is the docker daemon running|permission denied while trying to connect|"
    r"error during connect|failed to connect to the docker api",
    re.IGNORECASE,
)
_MISSING = re.compile(r"no such (object|container|network|image)|network \S+ not found", re.IGNORECASE)
_INSPECT = (
    '{"running":{{json .State.Running}},"image":{{json .Config.Image}},"cpus":{{json .HostConfig.NanoCpus}},'
    '"memory":{{json .HostConfig.Memory}},"networks":{{json .NetworkSettings.Networks}}}'
)


class Tools:
    """Commands of docker, kind and k3d for one call of a provider. needed: the programs that it cannot do without.

    Raises TerminalError("MissingTool") naming every one that is not on PATH.
    """

    def __init__(self, context: Context, *needed: str) -> None:
        self._context = context
        self._until = time.monotonic() + context.deadline
        """When what looks has to be done; anew after each command that changes something."""
        missing = [tool for tool in needed if shutil.which(tool) is None]
        if missing:
            names = " and ".join(missing)
            message = f"{names} {'is' if len(missing) == 1 else 'are'} not on PATH ({os.environ.get('PATH', '')})"
            raise TerminalError("MissingTool", message)

    def look(self, *argv: str) -> Completed:
        """How a command that changes nothing ended. Looks in a row share the deadline of the context.

        Raises UnreachableError when the engine does not answer, and DeadlineError.
        """
        left = max(0.1, min(LOOK_TIMEOUT, self._until - time.monotonic()))
        done = self._context.process.run(argv, timeout=left, env=engine_environment(), private=True)
        _raise_if_down(done)
        return done

    def read(self, *argv: str) -> str:
        """What a command that changes nothing prints. Raises TransientError, also when it fails."""
        done = self.look(*argv)
        if done.returncode:
            raise TransientError("LookFailed", _failed(done))
        return done.stdout

    def do(self, *argv: str, timeout: float = CHANGE_TIMEOUT, env: Mapping[str, str] | None = None) -> Completed:
        """Run a command that changes something; it stands in the log. Raises TransientError when it fails."""
        self._context.log(f"+ {' '.join(argv)}\n")
        done = self._context.process.run(argv, timeout=timeout, env={**engine_environment(), **(env or {})})
        self._until = time.monotonic() + self._context.deadline
        _raise_if_down(done)
        if done.returncode:
            raise TransientError("CommandFailed", _failed(done))
        return done

    def container(self, name: str, network: str = "") -> Container | None:
        """A container, None when there is none of this name. network: the one whose address counts.

        Where the container is not in that network, its only one counts; of several, none.
        """
        done = self.look("docker", "inspect", name, "--format", _INSPECT)
        if done.returncode:
            if _MISSING.search(done.stderr):
                return None
            raise TransientError("LookFailed", _failed(done))
        seen = parsed(done.stdout, done.argv)
        networks: Mapping[str, Any] = seen.get("networks") or {}
        own = network if network in networks or len(networks) != 1 else next(iter(networks))
        endpoint = networks.get(own) or {}
        address = valid_address(endpoint.get("IPAddress"))
        bits = endpoint.get("IPPrefixLen") or 0
        return Container(
            name,
            running=seen.get("running") is True,
            image=str(seen.get("image") or ""),
            network=own,
            address=address,
            subnet=str(IPv4Network(f"{address}/{bits}", strict=False)) if address and bits else "",
            cpus=(seen.get("cpus") or 0) / 1e9,
            memory=int(seen.get("memory") or 0),
        )

    def network(self, name: str, form: str) -> Any:
        """What the engine knows of a network, by a template that prints JSON; None when there is none of this name."""
        done = self.look("docker", "network", "inspect", name, "--format", form)
        if done.returncode == 0:
            return parsed(done.stdout, done.argv)
        if _MISSING.search(done.stderr):
            return None
        raise TransientError("LookFailed", _failed(done))

    def limit(self, containers: Sequence[str], cpus: float, memory: int) -> None:
        """What the containers may use at most; 0 leaves a limit as it is."""
        arguments = ["--cpus", f"{cpus:g}"] if cpus else []
        if memory:
            amount = shown_memory(memory)
            arguments += ["--memory", amount, "--memory-swap", amount]
        if arguments:
            self.do("docker", "update", *arguments, *containers)

    def have_image(self, image: str) -> None:
        """The engine has the image; pulled, up to three times, unless it is there."""
        done = self.look("docker", "image", "inspect", image, "--format", "{{.Id}}")
        if done.returncode == 0:
            return
        for pause in (*PULL_PAUSES, None):
            try:
                self.do("docker", "pull", image, timeout=PULL_TIMEOUT)
                return
            except UnreachableError:
                raise
            except TransientError as error:
                if pause is None:
                    raise
                self._context.log(f"{error.message}\ntrying again in {pause:g} s\n")
                self._context.sleep(pause)

    def images_in(self, container: str) -> set[str]:
        """The images in a node, by their full names."""
        answer = parsed(self.read("docker", "exec", container, "crictl", "images", "-o", "json"), ("crictl", "images"))
        found = answer.get("images") or ()
        return {name for image in found for part in ("repoTags", "repoDigests") for name in image.get(part) or ()}

    def check_host(self) -> None:
        """The engine answers, and there is room where it keeps its containers.

        Raises UnreachableError and TerminalError saying what is missing.
        """
        version = self.read("docker", "version", "--format", "{{.Server.Version}}").strip()
        root = self.read("docker", "info", "--format", "{{.DockerRootDir}}").strip()
        self._context.log(f"docker {version} keeps its containers in {root}\n")
        try:
            usage = shutil.disk_usage(root)
        except OSError:
            return  # of another host, or not ours to look into
        if usage.free < NEEDED_BYTES:
            left = f"{root} has {usage.free // 1_000_000} MB left"
            raise TerminalError("DiskFull", f"{left}; a cluster needs {NEEDED_BYTES // 1_000_000} MB")
        if usage.free < usage.total * _PRESSURE:
            share = 100 - 100 * usage.free // usage.total
            self._context.log(f"{root} is {share} % full: nodes evict pods from 90 % on\n")


def valid_address(text: Any) -> str | None:
    """The text if it is one IPv4 address, else None."""
    try:
        return str(IPv4Address(text)) if isinstance(text, str) else None
    except AddressValueError:
        return None


def parsed(text: str, argv: Sequence[str]) -> Any:
    """The JSON that a command printed. Raises TransientError for anything else."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise TransientError("BadAnswer", f"{' '.join(argv[:4])} did not print JSON") from error


def is_image(there: str, wanted: str) -> bool:
    """Whether an image is the wanted one, by their names.

    An engine writes out what a name leaves open: its own registry, the folder `library`, the tag `latest`. Of a tag
    with a digest, the tools pass on just the digest.
    """
    host, repository, tag, digest = _name_parts(there)
    wanted_host, wanted_repository, wanted_tag, wanted_digest = _name_parts(wanted)
    if repository != wanted_repository or (host and wanted_host and host != wanted_host):
        return False
    if wanted_digest:
        return digest == wanted_digest
    return (tag or ("" if digest else "latest")) == (wanted_tag or "latest")


def _name_parts(name: str) -> tuple[str, str, str, str]:
    """Registry, repository, tag and digest of an image's name; "" for what it does not say."""
    bare, _, digest = name.partition("@")
    first, slash, rest = bare.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, rest) if has_host else ("", bare)
    folder, slash, last = path.removeprefix("library/").rpartition("/")
    repository, _, tag = last.partition(":")
    return host, f"{folder}{slash}{repository}", tag, digest


def version_in(image: str) -> str:
    """The Kubernetes version that an image's tag names: 1.31.5 of rancher/k3s:v1.31.5-k3s1; "" for none."""
    found = re.search(r":v?(\d+\.\d+\.\d+)", image.partition("@")[0].rpartition("/")[2])
    return found[1] if found else ""


def shown_memory(count: int) -> str:
    """Bytes as docker takes them, in the largest unit that is exact."""
    for power, unit in ((3, "g"), (2, "m"), (1, "k")):
        if count % 1024**power == 0:
            return f"{count // 1024**power}{unit}"
    return f"{count}b"


def engine_environment() -> dict[str, str]:
    """Which engine is meant, and by which proxy the world is reached: as whoever started us has it."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def _raise_if_down(done: Completed) -> None:
    if done.returncode and _ENGINE_DOWN.search(done.stderr):
        raise UnreachableError("EngineDown", f"the docker engine does not answer: {_last_line(done.stderr)}")


def _failed(done: Completed) -> str:
    said = done.last_lines() or "(it said nothing)"
    return f"{' '.join(done.argv)} ended with exit code {done.returncode}:\n{said}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
