"""Repositories of projects: made or adopted at GitHub and GitLab, filled from a template, never overwritten."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forge_lab import TOKEN, Forge, forge_server
from git_lab import Repository

from reconciler.engine.context import ObserveContext
from reconciler.errors import ReconcilerError, TerminalError, TransientError, UnreachableError, WaitingError
from reconciler.kinds.project.forges import forges
from reconciler.kinds.project.forges.refusals import ForgeError
from reconciler.kinds.project.repositories import (
    RepositoryFacts,
    access_of,
    ensure_repository,
    push_template,
    remote_of,
)
from reconciler.kinds.project.spec import Auth, ProjectSpec
from reconciler.loading.settings_keys import Settings
from reconciler.model.resource import Resource, ResourceRef, Source
from reconciler.model.secret import Secret
from reconciler.transports.git_objects import blob_id
from reconciler.transports.shared_looks import SharedLooks

FILES = {"k8s/base/kustomization.yaml": b"kind: Kustomization\n", "README.md": b"# shop\n"}


@dataclass
class Ground:
    """A forge and a context of the real one's class. said: what was logged. on_sleep: called by each pause."""

    forge: Forge
    context: Any
    said: list[str]
    on_sleep: list[Callable[[], None]]

    def spec(self, name: str = "acme/shop", **repository: Any) -> ProjectSpec:
        """A project whose repository is to be made."""
        template = {"name": "web-app", "overwrite": repository.pop("overwrite", False)}
        written = {
            "provider": self.forge.provider,
            "name": name,
            "url": self.forge.url(name),
            "apiUrl": self.forge.api,
            "create": True,
            "auth": {"token": Secret(TOKEN, "env:T")},
            **repository,
        }
        spec = {"cluster": "dev", "description": "A shop", "repository": written, "template": template}
        return ProjectSpec.of(Resource(ResourceRef("Project", "shop"), spec, source=Source("file:/x")))


@pytest.fixture(params=["github", "gitlab"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with forge_server(request.param, tmp_path / "served") as forge:
        yield ground_of(forge, tmp_path)


def ground_of(forge: Forge, tmp_path: Path) -> Ground:
    said: list[str] = []
    given = {"home": tmp_path, "settings": Settings(home=tmp_path), "stopping": threading.Event()}
    runtime = SimpleNamespace(**given, looks=SharedLooks())

    class Logging(ObserveContext):
        def log(self, text: str) -> None:
            said.append(text)

        def sleep(self, seconds: float) -> None:
            super().sleep(min(seconds, 0.01))
            for call in on_sleep:
                call()

    on_sleep: list[Callable[[], None]] = []
    return Ground(forge, Logging(runtime, "Project", 30.0), said, on_sleep)


def raised(reason: str, call: Callable[[], object], kind: type[ReconcilerError] = ForgeError) -> ReconcilerError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.reason == reason, caught.value.message
    assert TOKEN not in caught.value.message
    return caught.value


def contents(repository: Repository) -> dict[str, str]:
    paths = repository.git("ls-tree", "-r", "-z", "--name-only", "main").split("\0")
    return {path: repository.git("cat-file", "blob", f"main:{path}") for path in paths if path}


# -- made and adopted


def test_every_forge_is_found_by_the_name_of_its_provider() -> None:
    assert set(forges()) == {"github", "gitlab"}


@pytest.mark.parametrize("name", ["acme/shop", "ada/shop"])
def test_a_repository_is_made_private_and_empty_and_takes_a_push(ground: Ground, name: str) -> None:
    spec = ground.spec(name)
    facts = ensure_repository(spec, ground.context)
    assert facts == RepositoryFacts(ground.forge.url(name), name, ground.forge.provider, facts.default_branch, True)
    assert ground.forge.repositories[name]["visibility"] == "private"
    assert ground.forge.repositories[name]["description"] == "A shop"
    assert ground.forge.repository(name).head() == "", "nothing is put into it by the forge"
    made = push_template(spec, FILES, ground.context)
    assert ground.forge.repository(name).head() == made.commit
    again = ensure_repository(spec, ground.context)
    assert not again.created
    assert len(ground.forge.written) == 1
    assert not push_template(spec, FILES, ground.context).changed
    assert TOKEN not in "".join(ground.said)


def test_the_visibility_is_as_asked(ground: Ground) -> None:
    spec = ground.spec()
    ensure_repository(replace(spec, visibility="public"), ground.context)
    assert ground.forge.repositories["acme/shop"]["visibility"] == "public"


def test_one_that_exists_is_adopted_as_it_is(ground: Ground) -> None:
    theirs = ground.forge.add("acme/Shop", visibility="public")
    theirs.commit({"theirs": "1"})
    facts = ensure_repository(ground.spec(url=ground.forge.url("acme/Shop")), ground.context)
    assert (facts.full_name, facts.created) == ("acme/Shop", False)
    assert ground.forge.written == []
    assert ground.forge.repositories["acme/Shop"]["visibility"] == "public"


def test_one_that_somebody_makes_at_the_same_moment_is_adopted(ground: Ground) -> None:
    ground.forge.add("acme/shop", is_new=True)
    ground.forge.unaware = 1  # the first question comes too early
    facts = ensure_repository(ground.spec(), ground.context)
    assert not facts.created
    assert len(ground.forge.written) == 1


def test_what_was_made_is_waited_for_until_every_server_knows_it(ground: Ground) -> None:
    ground.forge.unaware = 3
    ground.forge.git.broken = 404
    pauses: list[int] = []

    def git_knows_at_last() -> None:
        pauses.append(ground.forge.unaware)
        if len(pauses) == 5:
            ground.forge.git.broken = 0

    ground.on_sleep.append(git_knows_at_last)
    assert ensure_repository(ground.spec(), ground.context).created
    assert pauses == [2, 1, 0, 0, 0], "first until the API knows it, then until git does"
    assert push_template(ground.spec(), FILES, ground.context).changed


def test_without_create_only_git_is_asked(ground: Ground) -> None:
    ground.forge.add("acme/shop").commit({"a": "1"})
    facts = ensure_repository(ground.spec(create=False), ground.context)
    assert facts == RepositoryFacts(ground.forge.url("acme/shop"), "acme/shop", ground.forge.provider, "", False)
    assert ground.forge.seen == []
    missing = ground.spec("acme/none", create=False)
    raised("NoSuchRepository", lambda: ensure_repository(missing, ground.context), TransientError)


# -- every no, with its remedy


def test_a_token_that_is_wrong_or_missing_is_named(ground: Ground) -> None:
    wrong = ground.spec(auth={"token": Secret("wr0ng", "env:T")})
    error = raised("AuthenticationFailed", lambda: ensure_repository(wrong, ground.context))
    assert "repository.auth.token" in error.message
    assert "wr0ng" not in error.message
    none = ground.spec()
    none = replace(none, repository=replace(none.repository, auth=None))
    raised("NoToken", lambda: ensure_repository(none, ground.context), TerminalError)
    stored = replace(none.repository, auth=Auth(token={"digest": "abc"}))
    assert access_of(stored).token is None


def test_an_owner_that_forbids_or_is_not_there_is_named(ground: Ground) -> None:
    ground.forge.forbidden.add("acme")
    error = raised("AccessDenied", lambda: ensure_repository(ground.spec(), ground.context))
    assert "scope" in error.message
    error = raised("NoSuchOwner", lambda: ensure_repository(ground.spec("nobody/shop"), ground.context))
    assert "nobody/shop" in error.message
    assert set(ground.forge.repositories) == set()


def test_a_name_that_is_taken_by_what_the_token_may_not_see_is_named(ground: Ground) -> None:
    ground.forge.add("acme/shop")
    ground.forge.hidden.add("acme/shop")
    error = raised("NameTaken", lambda: ensure_repository(ground.spec(), ground.context), TerminalError)
    assert "may not see it" in error.message


def test_what_the_forge_does_not_accept_is_told_in_its_words(ground: Ground) -> None:
    long = replace(ground.spec(), description="x" * 3000)
    error = raised("RefusedByForge", lambda: ensure_repository(long, ground.context), TerminalError)
    assert "is too long" in error.message


@pytest.mark.parametrize(
    ("fact", "said"), [({"archived": True}, "is archived"), ({"push": False}, "may not be written")]
)
def test_what_nothing_can_be_pushed_to_is_not_adopted(ground: Ground, fact: dict[str, bool], said: str) -> None:
    ground.forge.add("acme/shop", **fact)
    assert said in raised("ReadOnly", lambda: ensure_repository(ground.spec(), ground.context), TerminalError).message


def test_what_has_moved_is_named(ground: Ground) -> None:
    ground.forge.add("acme/store")
    ground.forge.moved["acme/shop"] = "acme/store"
    error = raised("Moved", lambda: ensure_repository(ground.spec(), ground.context), TerminalError)
    assert "acme/store" in error.message
    assert ground.forge.written == []


def test_a_limit_is_waited_for_as_long_as_it_says(ground: Ground) -> None:
    ground.forge.limited = 1
    with pytest.raises(WaitingError) as caught:
        ensure_repository(ground.spec(), ground.context)
    assert caught.value.reason == "RateLimited"
    assert 20 < caught.value.retry_after < 40
    assert ensure_repository(ground.spec(), ground.context).created


def test_a_forge_that_is_away_or_no_forge_is_named(ground: Ground) -> None:
    away = ground.spec(apiUrl="http://localhost:1/api")
    raised("Unreachable", lambda: ensure_repository(away, ground.context), UnreachableError)
    name = "/repos/acme/shop" if ground.forge.provider == "github" else "/projects/acme%2Fshop"
    for value in ({"hello": "world"}, [1], "text", {"full_name": 1, "path_with_namespace": None}):
        ground.forge.replies[f"GET {name}"] = (200, value, {})
        raised("BadAnswer", lambda: ensure_repository(ground.spec(), ground.context))
    ground.forge.replies[f"GET {name}"] = (502, {"message": "Bad gateway"}, {})
    raised("ServerError", lambda: ensure_repository(ground.spec(), ground.context), TransientError)


# -- each forge's own


def test_an_app_of_github_has_no_user_and_makes_for_its_organization(tmp_path: Path) -> None:
    with forge_server("github", tmp_path / "served") as forge:
        ground = ground_of(forge, tmp_path)
        forge.replies["GET /user"] = (403, {"message": "Resource not accessible by integration"}, {})
        assert ensure_repository(ground.spec(), ground.context).created
        assert forge.written == [("POST", "/orgs/acme/repos")]
        forge.replies.clear()
        internal = replace(ground.spec("ada/x"), visibility="internal")
        raised("NoInternal", lambda: ensure_repository(internal, ground.context), TerminalError)


def test_gitlab_finds_groups_below_groups_and_waits_for_deletions(tmp_path: Path) -> None:
    with forge_server("gitlab", tmp_path / "served") as forge:
        ground = ground_of(forge, tmp_path)
        forge.groups.append("acme/web/shops")
        assert ensure_repository(ground.spec("acme/web/shops/one"), ground.context).created
        assert push_template(ground.spec("acme/web/shops/one"), FILES, ground.context).changed
        said = {"base": ["The project is still being deleted. Please try again later."]}
        forge.replies["POST /projects"] = (400, {"message": said}, {})
        raised("StillBeingDeleted", lambda: ensure_repository(ground.spec("acme/two"), ground.context), WaitingError)


# -- filled


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Ground]:
    with forge_server("github", tmp_path / "served") as forge:
        forge.add("acme/shop")
        yield ground_of(forge, tmp_path)


def test_one_commit_fills_an_empty_repository(filled: Ground) -> None:
    push_template(filled.spec(), FILES, filled.context)
    repository = filled.forge.repository("acme/shop")
    assert contents(repository) == {path: content.decode().strip() for path, content in FILES.items()}
    assert len(repository.git("rev-list", "main").split()) == 1


def test_other_content_is_never_overwritten_unless_that_is_wanted(filled: Ground) -> None:
    repository = filled.forge.repository("acme/shop")
    head = repository.commit({"src/main.py": "print()", "README.md": "theirs"})
    error = raised("RepositoryNotEmpty", lambda: push_template(filled.spec(), FILES, filled.context), TerminalError)
    assert "src/main.py" in error.message
    assert "template.overwrite" in error.message
    assert repository.head() == head
    made = push_template(filled.spec(overwrite=True), FILES, filled.context)
    assert made.changed
    assert contents(repository)["src/main.py"] == "print()", "what the template does not have stays"
    assert contents(repository)["README.md"] == "# shop"


def test_a_readme_of_the_forge_is_no_other_content_and_stays(filled: Ground) -> None:
    repository = filled.forge.repository("acme/shop")
    repository.commit({"README.md": "theirs", "LICENSE": "MIT", ".gitignore": "*.pyc"})
    assert push_template(filled.spec(), FILES, filled.context).changed
    assert contents(repository)["README.md"] == "theirs"
    assert set(contents(repository)) == {"README.md", "LICENSE", ".gitignore", "k8s/base/kustomization.yaml"}
    assert not push_template(filled.spec(), FILES, filled.context).changed


def test_content_that_equals_the_template_is_fine(filled: Ground) -> None:
    repository = filled.forge.repository("acme/shop")
    repository.commit({path: content.decode() for path, content in FILES.items()})
    head = repository.head()
    assert push_template(filled.spec(), FILES, filled.context).commit == head


def test_what_was_pushed_before_is_ours_until_somebody_changes_it(filled: Ground) -> None:
    repository = filled.forge.repository("acme/shop")
    first = {**FILES, "k8s/old.yaml": b"old", "k8s/theirs-now.yaml": b"old"}
    push_template(filled.spec(), first, filled.context)
    pushed = {path: blob_id(content) for path, content in first.items()}
    repository.files = {path: content.decode() for path, content in first.items()}
    repository.commit({"src/main.py": "developed since", "k8s/theirs-now.yaml": "edited", "README.md": "edited"})
    second = {**FILES, "k8s/base/kustomization.yaml": b"kind: Other\n"}
    assert push_template(filled.spec(), second, filled.context, pushed).changed
    assert contents(repository) == {
        "k8s/base/kustomization.yaml": "kind: Other",
        "README.md": "edited",
        "k8s/theirs-now.yaml": "edited",
        "src/main.py": "developed since",
    }, "old.yaml is gone, because nobody had touched it"
    repository.files.pop("k8s/old.yaml")
    repository.commit({"k8s/base/kustomization.yaml": "kind: Theirs"})
    pushed = {path: blob_id(content) for path, content in second.items()}
    assert not push_template(filled.spec(), second, filled.context, pushed).changed, (
        "the template has not changed there"
    )
    second["k8s/base/kustomization.yaml"] = b"kind: Third\n"
    error = raised(
        "RepositoryNotEmpty", lambda: push_template(filled.spec(), second, filled.context, pushed), TerminalError
    )
    assert "k8s/base/kustomization.yaml" in error.message


def test_what_appears_during_the_push_is_not_overwritten(filled: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = filled.forge.repository("acme/shop")
    repository.commit({"README.md": "theirs"})
    hook = repository.path / "hooks" / "pre-receive"
    hook.parent.mkdir()
    late = Repository(repository.path.parent / "late.git")
    other = late.commit({"k8s/base/kustomization.yaml": "kind: Theirs"})
    hook.write_text(
        f"#!/bin/sh\nunset GIT_QUARANTINE_PATH\ngit --git-dir={repository.path} fetch -q {late.path} +main:main\n"
    )
    hook.chmod(0o755)
    raised("RepositoryNotEmpty", lambda: push_template(filled.spec(), FILES, filled.context), TerminalError)
    assert repository.head() == other


def test_a_remote_of_a_project_reads_its_branch(filled: Ground) -> None:
    push_template(filled.spec(), FILES, filled.context)
    assert remote_of(filled.spec().repository, filled.context).paths("main") == set(FILES)
