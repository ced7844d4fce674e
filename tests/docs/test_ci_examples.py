"""What examples/ci gives to others is run here, with programs in place of those that would talk to a service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from forking import fork_on_path
from transcripts import ROOT

CI = ROOT / "examples" / "ci"
_RECORDING = '#!/bin/sh\nfor word in "$0" "$@"; do printf "%s\\n" "$word"; done >> "$CALLS"\ncat plan.md >> "$CALLS"\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of specs, with the program on PATH."""
    shutil.copytree(CI / "specs", tmp_path / "checkout" / "specs")
    programs = tmp_path / "bin"
    programs.mkdir()
    fork_on_path(programs)
    for name in ("gh", "curl"):
        (programs / name).write_text(_RECORDING)
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path / "checkout"


def run(checkout: Path, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A script as the service runs one."""
    ours = {
        "PATH": f"{checkout.parent}/bin{os.pathsep}{os.environ['PATH']}",
        "HOME": str(checkout.parent),
        "PYTHONPATH": str(ROOT),
        "RECONCILER_HOME": str(checkout.parent / "home"),
        "CALLS": str(checkout.parent / "calls"),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=checkout, env={**ours, **environ}, capture_output=True, text=True, check=False)


def calls(checkout: Path) -> str:
    """What the recording programs were called with, and the comment that lay beside them."""
    return (checkout.parent / "calls").read_text()


def workflow_steps() -> list[dict[str, Any]]:
    """The steps that run something, but for the installation of this very program."""
    document = yaml.safe_load((CI / "github-workflow.yaml").read_text())
    (job,) = document["jobs"].values()
    return [step for step in job["steps"] if "run" in step and not step["run"].startswith("pip ")]


def test_the_workflow_validates_plans_and_comments(checkout: Path) -> None:
    for step in workflow_steps():
        done = run(checkout, step["run"], NUMBER="7", GITHUB_REPOSITORY="a/b")
        assert done.returncode == 0, done.stderr
    said = calls(checkout)
    assert "pr\ncomment\n7\n--repo\na/b\n" in said
    assert "| ➕ | `Cluster/dev` | create |" in said


def test_the_workflow_puts_nothing_of_an_event_into_a_script() -> None:
    assert not [step for step in workflow_steps() if "${{" in step["run"]]
    permissions = yaml.safe_load((CI / "github-workflow.yaml").read_text())["permissions"]
    assert permissions == {"contents": "read", "pull-requests": "write"}


def test_the_workflow_stops_at_an_invalid_spec(checkout: Path) -> None:
    (checkout / "specs" / "bad.yaml").write_text("kind: Cluster\n")
    assert [run(checkout, step["run"]).returncode for step in workflow_steps()[:1]] == [1]


def test_the_gitlab_snippet_posts_a_note_without_showing_its_token(checkout: Path) -> None:
    job = yaml.safe_load((CI / "gitlab-ci.yaml").read_text())["specs"]
    environ = {"REVIEW_TOKEN": "s3cret", "NOTES": "https://git.example.com/notes"}
    done = run(checkout, "\n".join(job["script"]), **environ)
    assert done.returncode == 0, done.stderr
    said = calls(checkout)
    assert "--header\n@header\n" in said
    assert "https://git.example.com/notes\n" in said
    assert "s3cret" not in said + done.stdout + done.stderr
    header = checkout / "header"
    assert (header.read_text(), header.stat().st_mode & 0o077) == ("PRIVATE-TOKEN: s3cret\n", 0)


def test_the_hook_of_pre_commit_refuses_what_is_invalid(checkout: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (repository,) = yaml.safe_load((CI / "pre-commit-config.yaml").read_text())["repos"]
    (chosen,) = repository["hooks"]
    assert chosen["id"] == hook["id"]
    script = " ".join([hook["entry"], *chosen["args"]])
    assert run(checkout, script).returncode == 0
    (checkout / "specs" / "bad.yaml").write_text("kind: Cluster\n")
    assert run(checkout, script).returncode == 1


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "reconciler.service").read_text()
    assert "Type=notify" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "reconciler.service"
    unit.write_text(text.replace("/usr/local/bin/reconciler", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "reconciler.service" in line]) == (0, [])
