"""Ansible and pyinfra as people use them for an upgrade of two nodes: the same commands, one node after the other.

Both live in an environment of their own below `.bench/`. Ansible pipelines and keeps its connections (ControlPersist)
from one run to the next, which a first run does not have; neither gathers facts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from reconciler.transports.ssh import SshPlace
from tests.bench.ground import BENCH
from tests.bench.measuring import Whole, run
from tests.bench.peers import environment

_CFG = """\
[defaults]
inventory = {folder}/inventory.json
gathering = explicit
host_key_checking = True
interpreter_python = /usr/bin/python3
localhost_warning = False
[ssh_connection]
pipelining = True
ssh_args = -F /dev/null -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known}
control_path_dir = {sockets}
"""
_DEPLOY = """\
from pyinfra import host
from pyinfra.operations import server

for number, script in enumerate({scripts!r}):
    server.shell(name=f"command {{number}}", commands=[script], _env={{"VERSION": host.data.version}})
"""


class Peers:
    """Both programs, for nodes that are logged in to with a key file. Close it at the end.

    nodes: by name. key, known: files. scripts: what is run on each node, each a task of its own.
    """

    def __init__(self, nodes: Mapping[str, SshPlace], key: Path, known: Path, scripts: Sequence[str]) -> None:
        self._bin = environment("pair-peers", "ansible-core", "pyinfra")
        self._folder = BENCH / "pair-peers-files"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._sockets = Path(tempfile.mkdtemp(prefix="rb"))  # the name of a socket may not be long
        self._nodes, self._key, self._known = nodes, key, known
        self._write_ansible(scripts)
        (self._folder / "deploy.py").write_text(_DEPLOY.format(scripts=list(scripts)))

    def ansible(self, version: str) -> Whole:
        """The playbook, `serial: 1`."""
        return self._run("ansible-playbook", "-e", f"version={version}", "play.yaml")

    def pyinfra(self, version: str) -> Whole:
        """The deploy, `--serial`."""
        common = {"ssh_key": str(self._key), "ssh_known_hosts_file": str(self._known), "version": version}
        hosts = [
            (place.address, {"ssh_port": place.port, "ssh_user": place.user, **common})
            for place in self._nodes.values()
        ]
        (self._folder / "inventory.py").write_text(f"nodes = {hosts!r}\n")
        return self._run("pyinfra", "-y", "--serial", "inventory.py", "deploy.py")

    def versions(self) -> str:
        """What was compared with."""
        told = []
        for program in ("ansible-playbook", "pyinfra"):
            out = subprocess.run([self._bin / program, "--version"], capture_output=True, text=True, check=True).stdout
            told.append(out.splitlines()[0].replace("ansible-playbook", "Ansible"))
        return ", ".join(told)

    def close(self) -> None:
        """End the connections that Ansible keeps."""
        for control in self._sockets.iterdir():
            subprocess.run(
                ["ssh", "-F", "/dev/null", "-o", f"ControlPath={control}", "-O", "exit", "node"],
                capture_output=True,
                check=False,
            )
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _write_ansible(self, scripts: Sequence[str]) -> None:
        hosts = {
            name: {
                "ansible_host": place.address,
                "ansible_port": place.port,
                "ansible_user": place.user,
                "ansible_ssh_private_key_file": str(self._key),
            }
            for name, place in self._nodes.items()
        }
        (self._folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
        tasks = [
            {"name": f"command {number}", "ansible.builtin.shell": script} for number, script in enumerate(scripts)
        ]
        play = {"hosts": "all", "serial": 1, "gather_facts": False, "environment": {"VERSION": "{{ version }}"}}
        (self._folder / "play.yaml").write_text(yaml.safe_dump([{**play, "tasks": tasks}], sort_keys=False))
        cfg = _CFG.format(folder=self._folder, known=self._known, sockets=self._sockets)
        (self._folder / "ansible.cfg").write_text(cfg)

    def _run(self, program: str, *arguments: str) -> Whole:
        env = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "ansible"),
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "LC_ALL": "C.UTF-8",
        }
        return run([self._bin / program, *arguments], env, self._folder)
