"""The programs that we are compared with: Ansible in an environment of its own, Terraform where it is on PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tests.bench.ground import BENCH
from tests.bench.measuring import Whole, run

_PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: the folder is there
      ansible.builtin.file: {{path: {folder}, state: directory}}
"""


class AbsentError(Exception):
    """A peer that cannot be had here: its figures are left out, and why is printed."""


class Ansible:
    """ansible-core from the package registry, and a playbook of one task that has nothing to do."""

    def __init__(self) -> None:
        self._bin = environment("ansible", "ansible-core")
        self._folder = BENCH / "playbook"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._playbook = self._folder / "play.yaml"
        self._playbook.write_text(_PLAYBOOK.format(folder=self._folder))
        (self._folder / "ansible.cfg").write_text("")

    def check(self) -> Whole:
        """`ansible-playbook --check`, told its interpreter so that it need not look for one."""
        interpreter = f"ansible_python_interpreter={self._bin / 'python'}"
        command = [self._bin / "ansible-playbook", "-i", "localhost,", "-e", interpreter, "--check", self._playbook]
        env = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "ansible"),
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "LC_ALL": "C.UTF-8",
        }
        return run([str(part) for part in command], env, self._folder)

    def version(self) -> str:
        """The first line of `ansible --version`."""
        out = subprocess.run([self._bin / "ansible", "--version"], capture_output=True, text=True, check=True).stdout
        return out.splitlines()[0]


def environment(name: str, *packages: str) -> Path:
    """The `bin` of an environment below `.bench/` that has these packages; made when it is first asked for."""
    folder = BENCH / name
    if (folder / "ready").exists():
        return folder / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, text=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True, capture_output=True, text=True, timeout=600)
    except (subprocess.SubprocessError, OSError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines() or [""]
        shutil.rmtree(folder, ignore_errors=True)
        raise AbsentError(f"{', '.join(packages)} could not be installed: {told[-1]}") from error
    (folder / "ready").touch()
    return folder / "bin"


class Terraform:
    """`terraform plan` of resources of the built-in type terraform_data, kept below `.bench/` with their state.

    layout: `count`, one block that stands for all, as people write many alike; `blocks`, a block each, ten in a file as
    ours are. Terraform needs far longer for the first.

    The state is that of one applied resource, multiplied: applying writes the whole state for each resource, which
    takes half an hour for 5,000. A plan that finds nothing to do proves that it is right.
    """

    def __init__(self, count: int, layout: Literal["count", "blocks"]) -> None:
        program = shutil.which("terraform")
        if program is None:
            raise AbsentError("terraform is not on PATH")
        self._program = program
        self._folder = BENCH / f"terraform-{layout}-{count}"
        if not (self._folder / "ready").exists():
            self._prepare(count, layout)

    def plan(self) -> Whole:
        """A plan of nothing to do; another outcome raises BrokenError."""
        return self._run("plan", "-input=false", "-no-color", "-detailed-exitcode")

    def version(self) -> str:
        """The first line of `terraform version`."""
        return self._run("version").out.splitlines()[0]

    def _prepare(self, count: int, layout: str) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        (self._folder / "one.tf").write_text(_blocks(range(1)) if layout == "blocks" else _counted(1))
        self._run("init", "-input=false", "-no-color")
        self._run("apply", "-input=false", "-no-color", "-auto-approve")
        (self._folder / "one.tf").unlink()
        state = self._folder / "terraform.tfstate"
        applied = json.loads(state.read_text())
        (pattern,) = applied["resources"]
        if layout == "blocks":
            for first in range(0, count, 10):
                (self._folder / f"entries-{first:05}.tf").write_text(_blocks(range(first, min(first + 10, count))))
            applied["resources"] = [
                {**pattern, "name": f"entry-{number:05}", "instances": [_instance(pattern, number)]}
                for number in range(count)
            ]
        else:
            (self._folder / "entries.tf").write_text(_counted(count))
            instances = [{**_instance(pattern, number), "index_key": number} for number in range(count)]
            applied["resources"] = [{**pattern, "instances": instances}]
        state.write_text(json.dumps(applied))
        self.plan()
        (self._folder / "ready").touch()

    def _run(self, *arguments: str) -> Whole:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": "/dev/null",
        }
        return run([self._program, *arguments], env, self._folder)


def _blocks(numbers: Iterable[int]) -> str:
    return "\n".join(
        f'resource "terraform_data" "entry-{one:05}" {{\n  input = {{ text = "entry number {one}", size = {one} }}\n}}'
        for one in numbers
    )


def _counted(count: int) -> str:
    fields = 'text = "entry number ${count.index}", size = count.index'
    return f'resource "terraform_data" "entries" {{\n  count = {count}\n  input = {{ {fields} }}\n}}'


def _instance(pattern: dict[str, Any], number: int) -> dict[str, Any]:
    """The state of one resource, after that of another."""
    copy: dict[str, Any] = json.loads(json.dumps(pattern["instances"][0]))
    attributes = copy["attributes"]
    attributes["id"] = str(uuid.uuid4())
    for side in ("input", "output"):
        attributes[side]["value"] = {"text": f"entry number {number}", "size": number}
    return copy
