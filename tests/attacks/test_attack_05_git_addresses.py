"""Attacks 5 and 18 on git: addresses and names that are commands or options, and configuration of somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from git_lab import Repository, document
from stage import CONTROL, Stage

URLS = (
    "ext::sh -c 'touch pwned'",
    "ext::sh",
    "-u touch pwned",
    "--upload-pack=touch pwned",
    "ssh://-oProxyCommand=touch pwned/x",
    "-oProxyCommand=touch:pwned",
    "https://host/$(touch pwned)",
    "fd::7",
    "\x1b]0;owned\x07",
    "x" * 10_000,
)


@pytest.fixture
def repository(stage: Stage) -> Repository:
    made = Repository(stage.root / "origin.git")
    made.commit({"a.yaml": document("one")})
    return made


def pwned(stage: Stage) -> list[Path]:
    return [*stage.root.rglob("pwned*"), *Path("/").glob("pwned*")]


@pytest.mark.parametrize("url", URLS, ids=[ascii(url)[:24] for url in URLS])
def test_an_address_that_is_a_command_is_refused_before_git_sees_it(stage: Stage, url: str) -> None:
    ran = stage.run("validate", f"--git={url}", code=64)
    assert not CONTROL.search(ran.err)
    assert len(ran.err) < 3000
    assert not pwned(stage)
    assert not list(stage.home.glob("git/*"))


@pytest.mark.parametrize(
    "option", ["--branch=--upload-pack=touch pwned", "--branch=-x", "--path=--help", "--path=../.."]
)
def test_a_branch_or_folder_that_is_an_option_is_refused(stage: Stage, repository: Repository, option: str) -> None:
    ran = stage.run("validate", "--git", repository.url, option, code=64)
    assert "is not taken as" in ran.err
    assert not pwned(stage)


def test_nobodys_configuration_decides_what_git_does(stage: Stage, repository: Repository) -> None:
    evil = stage.root / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {stage.root}/pwned-$(basename $0)\nexit 1\n")
    evil.chmod(0o755)
    text = (
        f"[core]\n\thooksPath = {stage.root}/hooks\n\tsshCommand = {evil}\n\tfsmonitor = {evil}\n\taskPass = {evil}\n"
        f'[url "ext::{evil} "]\n\tinsteadOf = file://\n[credential]\n\thelper = {evil}\n[uploadpack]\n'
        f"\tpackObjectsHook = {evil}\n[protocol]\n\tallow = always\n"
    )
    (stage.root / ".gitconfig").write_text(text)
    (stage.root / ".config" / "git").mkdir(parents=True)
    (stage.root / ".config" / "git" / "config").write_text(text)
    (stage.root / ".netrc").write_text("machine localhost login me password s3cret\n")
    (stage.root / "hooks").mkdir()
    for hook in ("reference-transaction", "post-checkout", "pre-auto-gc", "post-merge"):
        (stage.root / "hooks" / hook).write_text(evil.read_text())
        (stage.root / "hooks" / hook).chmod(0o755)
    here = stage.root / "here"
    here.mkdir()
    Repository(here / ".git").git("config", "core.fsmonitor", str(evil))
    variables = {
        "GIT_DIR": str(here / ".git"),
        "GIT_SSH_COMMAND": str(evil),
        "GIT_EXTERNAL_DIFF": str(evil),
        "GIT_CONFIG_PARAMETERS": f"'core.hookspath={stage.root}/hooks'",
        "GIT_TEMPLATE_DIR": str(stage.root / "hooks"),
        "GIT_PROXY_COMMAND": str(evil),
        "GIT_ALLOW_PROTOCOL": "ext:file",
    }
    ran = stage.run("apply", "--git", repository.url, "--yes", env=variables, cwd=here)
    assert "changed=1" in ran.out
    assert set(stage.there()) == {"one"}
    assert not pwned(stage)


def test_k32_a_password_in_an_address_is_refused_and_repeated_nowhere(stage: Stage) -> None:
    for url in ("https://me:s3cret@localhost/a.git", "ssh://me:s3cret@localhost/a"):
        ran = stage.run("-vvv", "plan", "--git", url, code=None)
        assert ran.code == 64
        assert "s3cret" not in ran.out + ran.err.partition("Traceback")[0]
        assert "s3cret" not in ran.err
        assert "git.tokenFile" in ran.err
    assert not any(b"s3cret" in content for content in stage.kept().values())
