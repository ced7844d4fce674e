"""A second load reads what may have changed and nothing else, and comes to what a first load would come to."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconciler.loading.loader import DirectorySource, Loader, LoadOptions
from reconciler.model.resource import ResourceRef
from tests.loading.conftest import CountingSource, Specs, messages, ref, vault, widget
from tests.loading.kinds_for_tests import KINDS


def age(root: Path) -> None:
    """Make all files old enough for their times to be trusted, and old times different from each other's."""
    for number, path in enumerate(sorted(root.rglob("*"))):
        if path.is_file():
            os.utime(path, ns=(1, 1_000_000_007 * (number + 1)))
    time.sleep(0.06)  # the time of the inode itself cannot be set


def test_files_that_did_not_change_are_not_read_again(specs: Specs) -> None:
    for number in range(20):
        specs.write(f"f{number}.yaml", widget(f"w{number}"))
    specs.load()
    age(specs.root)
    specs.load()
    specs.source.reads.clear()

    assert specs.load().changed == frozenset()
    assert specs.source.reads == []

    specs.write("f7.yaml", widget("w7", "size: 7"))
    assert specs.load().changed == {ref("w7")}
    assert specs.source.reads == ["f7.yaml"]


def test_a_touched_file_is_read_and_not_parsed(specs: Specs) -> None:
    path = specs.write("a.yaml", widget("one"))
    first = specs.load().resources[ref("one")]
    os.utime(path)

    assert specs.load().resources[ref("one")] is first


def test_a_replaced_file_of_the_same_size_and_time_is_read(specs: Specs) -> None:
    path = specs.write("a.yaml", widget("one", "size: 1"))
    specs.load()
    age(specs.root)
    specs.load()
    times = path.stat()

    other = specs.write(".new", widget("one", "size: 2"))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(path)
    time.sleep(0.06)

    assert specs.load().changed == {ref("one")}


def test_files_that_specs_name_are_not_read_again_either(specs: Specs) -> None:
    specs.write("run.sh", "echo\n")
    specs.write("a.yaml", vault("script: run.sh"))
    specs.load()
    age(specs.root)
    specs.load()
    specs.source.reads.clear()

    specs.load()
    assert specs.source.reads == []

    specs.write("run.sh", "exit\n")
    assert len(specs.load().changed) == 1
    assert set(specs.source.reads) == {"a.yaml", "run.sh"}


def test_a_result_does_not_change_afterwards(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    first = specs.load()

    specs.write("b.yaml", widget("two"))
    specs.load()

    assert set(first.resources) == {ref("one")}


def test_a_broken_file_stays_broken_until_it_is_mended(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    specs.load()
    specs.write("a.yaml", "x: [")
    age(specs.root)
    first = specs.load()
    second = specs.load()

    assert first.problems == second.problems
    assert second.changed == second.removed == frozenset()

    specs.write("a.yaml", widget("one", "size: 2"))
    result = specs.load()
    assert messages(result) == []
    assert result.changed == {ref("one")}


def test_a_broken_file_that_is_deleted_takes_its_resources_with_it(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    specs.load()
    path = specs.write("a.yaml", "x: [")
    specs.load()

    path.unlink()

    assert specs.load().removed == {ref("one")}


def test_a_long_chain_of_dependencies_is_no_problem(specs: Specs) -> None:
    count = 3000
    for part in range(3):
        numbers = range(part * 1000, (part + 1) * 1000)
        documents = [widget(f"w{n}", f"size: 1\n  uses: w{n + 1}" if n + 1 < count else "size: 1") for n in numbers]
        specs.write(f"f{part}.yaml", "---\n".join(documents))

    result = specs.load()
    assert messages(result) == []
    assert len(result.resources) == count

    specs.write("f2.yaml", (specs.root / "f2.yaml").read_text().replace(f"name: w{count - 1}}}", "name: other}"))
    started = time.monotonic()
    broken = specs.load_afresh()
    assert broken.resources == {}
    assert time.monotonic() - started < 30


class Edits(RuleBasedStateMachine):
    """Files are written, broken, moved and deleted in any order; whenever all is well, history does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name)
        self.loader = Loader(CountingSource(self.root), KINDS, LoadOptions(digest_key=b"key"))
        self.valid: dict[ResourceRef, str] = {}
        self.owners: dict[ResourceRef, str] = {}

    def teardown(self) -> None:
        self._folder.cleanup()

    @rule(
        file=st.sampled_from("abc"),
        content=st.lists(
            st.tuples(st.sampled_from("wxyz"), st.integers(1, 3), st.sampled_from(["", *"wxyz"])), max_size=3
        ),
    )
    def write(self, file: str, content: list[tuple[str, int, str]]) -> None:
        documents = [
            widget(name, f"size: {size}" + (f"\n  uses: {uses}" if uses else "")) for name, size, uses in content
        ]
        (self.root / f"{file}.yaml").write_text("---\n".join(documents) or "# nothing\n")

    @rule(file=st.sampled_from("abc"))
    def break_file(self, file: str) -> None:
        (self.root / f"{file}.yaml").write_text("x: [")

    @rule(file=st.sampled_from("abc"))
    def delete(self, file: str) -> None:
        (self.root / f"{file}.yaml").unlink(missing_ok=True)

    @rule(one=st.sampled_from("abc"), other=st.sampled_from("abc"))
    def move(self, one: str, other: str) -> None:
        if (self.root / f"{one}.yaml").exists():
            (self.root / f"{one}.yaml").rename(self.root / f"{other}.yaml")

    @invariant()
    def load(self) -> None:
        result = self.loader.load()
        fresh = Loader(DirectorySource(self.root), KINDS, LoadOptions(digest_key=b"key")).load()
        digests = {one: resource.digest for one, resource in result.resources.items()}

        if not fresh.problems:
            assert result.problems == ()
            assert digests == {one: resource.digest for one, resource in fresh.resources.items()}
        else:
            assert result.problems
        for resource in result.resources.values():
            owner = resource.source.owner
            assert owner in result.owners
            assert (
                all(needed in result.resources for needed in KINDS["Widget"].references(resource))
                or owner in result.broken
            )
        assert result.changed == {one for one, digest in digests.items() if self.valid.get(one) != digest}
        assert result.removed == self.valid.keys() - digests.keys()
        assert result.broken == {problem.owner for problem in result.problems}
        owners = {one: resource.source.owner for one, resource in result.resources.items()}
        assert result.moved == {one for one in digests.keys() - result.changed if self.owners[one] != owners[one]}
        self.valid, self.owners = digests, owners


TestEdits = Edits.TestCase
TestEdits.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_content_makes_a_load_raise_or_lose_what_was_valid(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        specs = Specs(Path(folder))
        specs.write("a.yaml", widget("one"))
        specs.load()
        specs.write("a.yaml", content)
        result = specs.load()

    assert result.problems or not content.strip().startswith(b"x")
    assert set(result.resources) == {ref("one")} or not result.problems
