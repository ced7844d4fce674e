"""Documents out of git: read by blob, never followed anywhere, and left as they were where nothing can be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from git_lab import LINK, SUBMODULE, Repository

from reconciler.loading.git_source import GitSource, restricted
from reconciler.loading.loader import Loader, LoadOptions, LoadResult
from reconciler.loading.settings import Git
from reconciler.loading.sources import SourceError
from reconciler.model.secret import SpecFile
from reconciler.transports.git import Mirror
from reconciler.transports.git_command import GitAccess, GitError
from reconciler.transports.git_objects import TreeEntry
from reconciler.transports.git_place import GitPlace
from tests.loading.conftest import ref, vault, widget
from tests.loading.kinds_for_tests import KINDS


class CountingMirror(Mirror):
    """Remembers which trees and how many blobs were read, and can be out of order."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.trees = 0
        self.batches: list[int] = []
        self.fails = False

    def tree(self, commit: str) -> list[TreeEntry]:
        self.trees += 1
        if self.fails:
            raise GitError("GitFailed", "out of order")
        return super().tree(commit)

    def blobs(self, entries: Sequence[TreeEntry]) -> dict[str, bytes]:
        self.batches.append(len(entries))
        if self.fails:
            raise GitError("GitFailed", "out of order")
        return super().blobs(entries)


class Branch:
    """A repository with a loader on its branch main, folder specs."""

    def __init__(self, root: Path, options: LoadOptions | None = None) -> None:
        self.repository = Repository(root / "origin.git")
        self.place = GitPlace.checked(self.repository.url, "main", "specs")
        self.mirror = CountingMirror(root / "mirrors", self.place, GitAccess())
        self.source = GitSource(self.mirror)
        self.options = options or LoadOptions(digest_key=b"key")
        self.loader = Loader(self.source, KINDS, self.options)

    def load(self, files: dict[str, Any] | None = None) -> LoadResult:
        """Commit, fetch, load."""
        if files is not None:
            self.repository.commit({f"specs/{path}": content for path, content in files.items()})
            self.source.fetch()
        return self.loader.load()


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    return Branch(tmp_path)


@pytest.fixture
def branch_with(tmp_path: Path) -> Callable[[Git], Branch]:
    return lambda settings: Branch(tmp_path, restricted(LoadOptions(digest_key=b"key", secret_env=("*",)), settings))


def messages(result: LoadResult) -> list[str]:
    return [str(one) for one in result.problems]


def test_documents_are_owned_by_repository_branch_and_path(branch: Branch) -> None:
    result = branch.load({"a.yaml": widget("one"), "deep/b.yml": widget("two"), "notes.txt": "no document"})
    assert messages(result) == []
    assert result.readable
    sources = {str(key): resource.source for key, resource in result.resources.items()}
    assert sources["Widget/two"].owner == f"git:{branch.repository.url}@main//specs/deep/b.yml"
    assert sources["Widget/one"].revision == branch.repository.head()
    assert branch.source.commit is not None
    assert branch.source.commit.subject == "change"


def test_of_many_documents_one_edited_is_one_blob(branch: Branch) -> None:
    branch.load({f"{number}.yaml": widget(f"w{number}") for number in range(300)})
    assert branch.mirror.batches == [300], "all of them by one process"
    result = branch.load({"7.yaml": widget("w7", "size: 9")})
    assert result.changed == {ref("w7")}
    assert branch.mirror.batches == [300, 1]


def test_a_commit_that_is_known_costs_no_process(branch: Branch) -> None:
    branch.load({"a.yaml": widget("one")})
    assert (branch.mirror.trees, branch.mirror.batches) == (1, [1])
    for _ in range(3):
        branch.load()
    assert (branch.mirror.trees, branch.mirror.batches) == (1, [1])


def test_a_commit_elsewhere_reads_nothing_here(branch: Branch) -> None:
    branch.load({"a.yaml": widget("one")})
    branch.repository.commit({"other/a.yaml": widget("x")})
    branch.source.fetch()
    result = branch.load()
    assert (result.changed, result.removed, branch.mirror.batches) == (frozenset(), frozenset(), [1])
    assert branch.source.revision == branch.repository.head()


def test_what_is_the_same_twice_is_read_once_and_belongs_to_both(branch: Branch) -> None:
    text = widget("one")
    result = branch.load({"a.yaml": text, "b.yaml": text})
    assert branch.mirror.batches == [1]
    assert len(result.problems) == 2
    assert "also defined in" in result.problems[0].message


def test_what_is_no_longer_there_is_gone(branch: Branch) -> None:
    branch.load({"a.yaml": widget("one"), "b.yaml": widget("two")})
    result = branch.load({"b.yaml": None})
    assert result.removed == {ref("two")}
    assert result.readable


def test_places_are_those_of_the_repository(branch: Branch) -> None:
    (message,) = messages(branch.load({"deep/a.yaml": widget("one", "size: many")}))
    assert message.startswith("specs/deep/a.yaml:6:")


def test_links_and_submodules_are_named_and_never_followed(branch: Branch) -> None:
    files = {
        "a.yaml": widget("one"),
        "link.yaml": (LINK, "a.yaml"),
        "folder": (LINK, "../../etc"),
        "sub": (SUBMODULE, "1" * 40),
        ".hidden": (LINK, "/etc"),
    }
    result = branch.load(files)
    assert messages(result) == [
        "specs/folder:0:0: is a symbolic link, and none is followed in a git source",
        "specs/link.yaml:0:0: is a symbolic link, and none is followed in a git source",
        "specs/sub:0:0: is a submodule, and none is followed",
    ]
    assert set(result.resources) == {ref("one")}


def test_a_folder_that_is_itself_a_link_is_not_entered(branch: Branch) -> None:
    branch.repository.commit({"real/a.yaml": widget("one"), "specs": (LINK, "real")})
    branch.source.fetch()
    result = branch.load()
    assert not result.resources
    assert not result.readable
    assert "there is no folder specs" in messages(result)[0]


def test_names_that_are_not_text_are_a_problem(branch: Branch) -> None:
    result = branch.load({"a.yaml": widget("one"), b"bad\xff.yaml".decode(errors="surrogateescape"): widget("two")})
    assert messages(result) == ["specs/bad\\xff.yaml:0:0: has a name that is not UTF-8"]


def test_a_huge_blob_is_refused_by_its_size_alone(branch: Branch) -> None:
    result = branch.load({"a.yaml": widget("one"), "huge.yaml": "#" * 10_000_001})
    assert messages(result) == ["specs/huge.yaml:0:0: has 10,000,001 bytes, more than 10,000,000"]
    assert branch.mirror.batches == [1]


def test_files_that_a_document_names_come_from_the_same_commit(branch: Branch) -> None:
    spec = 'script: "run.sh"'
    first = branch.load({"v.yaml": vault(spec), "run.sh": "one"})
    (resource,) = first.resources.values()
    assert isinstance(resource.spec["script"], SpecFile)
    assert resource.spec["script"].text == "one"
    second = branch.load({"run.sh": "two"})
    (changed,) = second.resources.values()
    assert (changed.spec["script"].text, len(second.changed)) == ("two", 1)


@pytest.mark.parametrize("written", ["../outside", "/etc/passwd", "~/x", "link.sh"])
def test_a_named_file_never_leaves_the_folder(branch: Branch, written: str) -> None:
    files = {"v.yaml": vault(f'script: "{written}"'), "link.sh": (LINK, "/etc/passwd")}
    branch.repository.commit({"outside": "x"})
    assert not branch.load(files).resources


def test_nothing_of_this_machine_may_be_named(branch_with: Callable[[Git], Branch], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    branch = branch_with(Git())
    result = branch.load(
        {
            "env.yaml": vault("token: {fromEnv: HOME}"),
            "file.yaml": vault(f"token: {{fromFile: {token}}}").replace("name: v", "name: f"),
            "anywhere.yaml": vault(f"kubeconfig: {token}").replace("name: v", "name: k"),
            "beside.yaml": vault("kubeconfig: token").replace("name: v", "name: b"),
        }
    )
    assert not result.resources
    said = "\n".join(messages(result))
    assert said.count("the setting git.files allows none") == 3
    assert said.count("the setting git.env allows none") == 1


def test_what_the_settings_allow_may_be_named(branch_with: Callable[[Git], Branch], tmp_path: Path) -> None:
    token = tmp_path / "allowed" / "token"
    token.parent.mkdir()
    token.write_text("t")
    branch = branch_with(Git(env=("HOME",), files=(str(token.parent),)))
    result = branch.load(
        {
            "env.yaml": vault("token: {fromEnv: HOME}"),
            "anywhere.yaml": vault(f"kubeconfig: {token}").replace("name: v", "name: k"),
        }
    )
    assert messages(result) == []
    assert len(result.resources) == 2


def test_before_the_first_fetch_nothing_is_known_and_nothing_is_gone(branch: Branch) -> None:
    result = branch.load()
    assert (result.readable, dict(result.resources)) == (False, {})
    assert messages(result) == [f"git:{branch.repository.url}@main//specs:0:0: was never fetched"]


def test_a_tree_that_cannot_be_read_leaves_the_one_before(branch: Branch) -> None:
    first = branch.load({"a.yaml": widget("one")})
    branch.mirror.fails = True
    second = branch.load({"a.yaml": widget("one", "size: 2"), "b.yaml": widget("two")})
    assert second.resources == first.resources
    assert (second.readable, second.changed, second.removed) == (False, frozenset(), frozenset())
    assert "out of order" in messages(second)[0]
    branch.mirror.fails = False
    assert set(branch.load().changed) == {ref("one"), ref("two")}


def test_blobs_that_cannot_be_read_leave_their_files_as_they_were(branch: Branch) -> None:
    first = branch.load({f"{number}.yaml": widget(f"w{number}") for number in range(20)})
    branch.repository.commit({f"specs/{number}.yaml": widget(f"w{number}", "size: 2") for number in range(20)})
    branch.source.fetch()
    branch.mirror.trees = 0
    assert branch.source.list().complete
    branch.mirror.fails = True
    broken = branch.load()
    assert broken.resources == first.resources
    assert len(broken.problems) == 20
    assert branch.mirror.batches == [20, 20], "asked once, not once a file"
    branch.mirror.fails = False
    assert len(branch.load().changed) == 20


def test_a_fetch_that_failed_is_seen_and_changes_nothing(branch: Branch) -> None:
    first = branch.load({"a.yaml": widget("one")})
    branch.source.trouble = "no route"
    second = branch.load()
    assert second.resources == first.resources
    assert [one.message for one in second.problems] == ["could not be fetched: no route"]
    assert second.readable
    assert second.broken, "so that nothing counts as gone meanwhile"
    branch.source.trouble = ""
    assert branch.load().problems == ()


def test_a_file_that_is_not_there_is_missing(branch: Branch) -> None:
    branch.load({"a.yaml": widget("one")})
    with pytest.raises(SourceError) as caught:
        branch.source.read("nowhere.yaml")
    assert caught.value.missing
