"""A project from its document to Flux, with a repository that is made at GitHub or GitLab: by the whole program."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forge_lab import TOKEN, Forge, forge_server
from place import said_by_processes
from project_lab import SOURCES, ProjectLab, opened
from sandbox_server import Sandbox

from tests.daemon.lab import document

SHAPES = (TOKEN.encode(), base64.b64encode(TOKEN.encode()), base64.b64encode(f"git:{TOKEN}".encode()))


@pytest.fixture(scope="module")
def lab(bare_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectLab]:
    yield from map(with_token, opened(tmp_path_factory.mktemp("l"), bare_sandbox))


def with_token(lab: ProjectLab) -> ProjectLab:
    """The token in a file that documents may name, so that it stands in no environment either."""
    (lab.home / "secrets").mkdir(mode=0o700)
    path = lab.home / "secrets" / "token"
    path.touch(mode=0o600)
    path.write_text(f"{TOKEN}\n")
    return lab


@pytest.fixture(params=["github", "gitlab"])
def forge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Forge]:
    with forge_server(request.param, tmp_path / "served") as running:
        yield running


def written(lab: ProjectLab, forge: Forge, name: str, repository_name: str = "", **spec: object) -> Path:
    """The document of a project at a forge, alone in a folder. repository_name: other than the project's."""
    full_name = f"acme/{repository_name or name}"
    repository = {
        "provider": forge.provider,
        "name": full_name,
        "url": forge.url(full_name),
        "apiUrl": forge.api,
        "create": True,
        "auth": {"token": {"fromFile": "token"}},
    }
    whole = {"cluster": "dev", "repository": repository, **(spec or {"template": {"name": "web-app"}})}
    folder = lab.root / "projects" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.yaml").write_text(document("Project", name, whole))
    return folder


def kept_by(lab: ProjectLab) -> bytes:
    """All that the home holds beside the token's own file."""
    files = [path for path in lab.home.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert any(path.suffix == ".db" for path in files)
    return b"\0".join(path.read_bytes() for path in files)


def made_by_us(lab: ProjectLab, name: str) -> dict[str, int]:
    """What is recorded of who made a project's repository, by its name."""
    sql = "SELECT full_name, created_by_us FROM repositories WHERE project_id = ?"
    return {row["full_name"]: row["created_by_us"] for row in lab.rows(sql, lab.row(name)["id"])}


def await_true(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_repository_is_made_filled_and_deployed_and_the_token_is_nowhere(lab: ProjectLab, forge: Forge) -> None:
    name = f"made-{forge.provider}"
    folder = written(lab, forge, name)
    forge.limited = 1
    done = lab.run("apply", folder, "--yes")
    assert done.code != 0
    assert "asked again in" in done.text
    assert lab.row(name)["progress"] < 100
    printed = done.text + lab.ok("apply", folder, "--yes")
    row = lab.row(name)
    assert (row["status"], row["progress"]) == ("active", 100)
    assert forge.repositories[f"acme/{name}"]["visibility"] == "private"
    repository = forge.repository(f"acme/{name}")
    assert len(repository.git("rev-list", "main").split()) == 1
    namespace = f"project-{row['id']}"
    (source,) = lab.clusters["dev"].list(SOURCES, namespace)
    assert source["spec"]["url"] == forge.url(f"acme/{name}")
    asked = len(forge.seen)
    printed += lab.ok("apply", folder, "--yes")
    assert len(forge.written) == 1
    assert len(forge.seen) == asked, "a look does not ask the forge"
    assert len(repository.git("rev-list", "main").split()) == 1
    everything = printed.encode() + kept_by(lab)
    assert [shape for shape in SHAPES if shape in everything] == []


def test_killed_while_it_pushes_it_goes_on_where_it_was(lab: ProjectLab, tmp_path: Path) -> None:
    held, go = tmp_path / "held", tmp_path / "go"
    with forge_server("github", tmp_path / "served") as forge:
        forge.hook = f"touch {held}\nwhile [ ! -e {go} ]; do sleep 0.02; done\ntest -e {go}.yes"
        folder = written(lab, forge, "killed")
        with lab.prefixed("env"):  # what a fork is given stands in no environment that others see
            command = lab.start("apply", folder, "--yes")
        try:
            await_true(held.exists)
            said = said_by_processes()
            assert b"--force-with-lease=refs/heads/main:" in said, "it was looked at while it pushed"
            assert [shape for shape in SHAPES if shape in said] == []
            command.process.kill()
            command.process.wait()
        finally:
            go.touch()
        assert [shape for shape in SHAPES if shape in kept_by(lab)] == []
        (tmp_path / "go.yes").touch()
        lab.ok("apply", folder, "--yes")
        assert lab.row("killed")["status"] == "active"
        assert len(forge.written) == 1, "the repository that was made is adopted"
        assert len(forge.repository("acme/killed").git("rev-list", "main").split()) == 1
        assert made_by_us(lab, "killed") == {"acme/killed": 1}, "although this attempt has found it there"
        forge.add("acme/theirs")
        lab.ok("apply", written(lab, forge, "killed", "theirs"), "--yes")
        assert made_by_us(lab, "killed") == {"acme/theirs": 0}


def test_without_a_template_one_is_adopted_and_none_is_made(lab: ProjectLab, forge: Forge) -> None:
    name = f"adopted-{forge.provider}"
    folder = written(lab, forge, name, environments=[{"type": "staging"}])
    done = lab.run("apply", folder, "--yes")
    assert done.code != 0
    assert "it would be created empty" in done.text
    assert "it would be created empty" in lab.row(name)["initialization_error"]
    assert forge.written == []
    forge.add(f"acme/{name}").commit({"k8s/overlays/staging/kustomization.yaml": "resources: []"})
    lab.ok("apply", folder, "--yes")
    assert (lab.row(name)["status"], lab.row(name)["progress"]) == ("active", 100)
    assert forge.written == []
    assert made_by_us(lab, name) == {f"acme/{name}": 0}
