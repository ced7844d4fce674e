"""Plans as Markdown, schemas for editors, completion for shells: what other programs read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from git_lab import Repository
from git_lab import document as text_of
from jsonschema import Draft202012Validator
from place import Place, entry
from referencing import Registry, Resource

from reconciler.cli.markdown import LONGEST, code, plan_markdown
from reconciler.kinds import discover
from reconciler.loading.problems import Problem
from reconciler.model.commit import Commit
from reconciler.model.plan import Action, Change, FieldDiff, Obstacle, Plan
from reconciler.model.resource import Resource as Wanted
from reconciler.model.resource import ResourceRef

HOSTILE = "`x` | @somebody <img src=x onerror=alert(1)> [a](javascript:b)\n```\n# heading\x1b[31m"


def change(name: str, *diffs: FieldDiff, why: str = "spec.text differs", obstacle: Obstacle | None = None) -> Change:
    ref = ResourceRef("Entry", name)
    return Change(ref, Action.UPDATE, Wanted(ref, {}), why, diffs, obstacle=obstacle)


def outside_code(markdown: str) -> str:
    """What of a comment is not code, as CommonMark tells the two apart."""
    rest = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.M | re.S)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", rest)


def test_a_plan_becomes_a_comment(place: Place) -> None:
    place.write("a.yaml", entry("one"), entry("two"))
    place.apply()
    place.write("a.yaml", entry("one", text="new"))
    text = place.run("plan", place.specs, "-o", "markdown").out
    assert text.startswith("### Plan\n\n**0 to create, 1 to update,")
    assert "| ✏️ | `Entry/one` | update | `spec.text differs` |" in text
    assert '- spec.text: "hello"\n+ spec.text: "new"' in text
    assert "`Entry/two`" in text
    assert "NotInSpecs" not in text
    assert "✋" in text


def test_a_comment_names_commit_and_problems(place: Place) -> None:
    repository = Repository(place.root / "origin.git")
    repository.commit({"a.yaml": text_of("one"), "b.yaml": "kind: |\n"}, "Add one")
    ran = place.run("plan", "--git", repository.url, "-o", "markdown", code=1)
    assert f"Commit `{repository.head()[:12]} (Ada <ada@example.com>: Add one)`" in ran.out
    assert "⚠️ **1 problems in the specs**\n\n- `b.yaml:" in ran.out


def test_nothing_of_somebody_else_is_markup_or_a_mention() -> None:
    diffs = (FieldDiff(HOSTILE.replace("\n", " "), HOSTILE, {"x": HOSTILE}),)
    held = Obstacle("blocked", "Protected", HOSTILE)
    plan = Plan((change("one", *diffs, why=HOSTILE), change("two", *diffs, obstacle=held)))
    problem = Problem(HOSTILE, 1, 1, HOSTILE, "file:x")
    text = plan_markdown(plan, [problem], Commit("1" * 40, HOSTILE, HOSTILE))
    rest = outside_code(text)
    assert not re.search(r"@|<img|javascript|heading|\x1b", rest), rest
    rows = [line for line in text.splitlines() if line.startswith("| ") and "Entry/" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [5, 5], "no value makes another column"


def test_a_comment_is_bounded_and_says_what_it_left_out() -> None:
    diffs = tuple(FieldDiff(f"spec.f{number}", "a" * 5000, "b" * 5000) for number in range(4))
    text = plan_markdown(Plan(tuple(change(f"e{number}", *diffs) for number in range(2000))), [], None)
    assert len(text) <= LONGEST
    assert "more rows; `reconciler plan` shows them all" in text
    assert "more changes with differences" in text
    assert text.count("<details>") == text.count("</details>") > 0
    assert outside_code(text).count("```") == 0, "every block is closed"


@pytest.mark.parametrize("text", ["", "a", "`", "``a``", " a ", "a|b", "`a|b`", "x" * 500, "\n\n"])
def test_code_is_one_span(text: str) -> None:
    assert outside_code(code(text)).strip() == ""


def test_schemas_are_written_for_editors(place: Place) -> None:
    folder = place.root / "schemas"
    written = place.run("schema", "--write", folder).out.split()
    kinds = [*discover(), "Entry"]
    assert {Path(path).name for path in written} == {f"{name.lower()}.schema.json" for name in ["all", *kinds]}
    schemas = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    registry: Registry[object] = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in schemas.items()
    )
    validator = Draft202012Validator(schemas["all.schema.json"], registry=registry)
    good = entry("one")
    assert validator.is_valid(good)
    for bad in ({**good, "kind": "Nothing"}, {**good, "spec": {"text": 5}}, {"metadata": {}}, []):
        assert not validator.is_valid(bad)
    assert validator.is_valid(yaml.safe_load(Path("reconciler/kinds/cluster/example.yaml").read_text()))


def test_a_schema_needs_a_kind_or_a_folder(place: Place) -> None:
    place.run("schema", code=64)
    place.run("schema", "Entry", "--write", place.root, code=64)
    (place.root / "file").write_text("")
    place.run("schema", "--write", place.root / "file", code=64)


# -- completion


def complete(place: Place, words: str) -> list[str]:
    """What bash is offered for a line."""
    count = len(words.split(" ")) - 1
    env = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    ran = place.run(env=env)
    assert ran.err == ""
    return [line.partition(",")[2] for line in ran.out.splitlines() if line]


def test_tab_offers_commands_options_kinds_and_resources(place: Place) -> None:
    place.write("a.yaml", entry("one"), entry("other"), entry("two"))
    place.apply()
    assert complete(place, "reconciler de") == ["describe", "delete"]
    assert "--git" in complete(place, "reconciler plan --")
    assert complete(place, "reconciler describe Entry/o") == ["Entry/one", "Entry/other"]
    assert complete(place, "reconciler get E") == ["Entry"]
    assert complete(place, "reconciler get Entry/t") == ["Entry/two"]
    assert complete(place, "reconciler completion z") == ["zsh"]


def test_tab_says_nothing_where_nothing_is_known(place: Place) -> None:
    place.database_file.write_bytes(b"this is no database")
    assert complete(place, "reconciler describe E") == []
    place.database_file.unlink()
    assert complete(place, "reconciler describe E") == []
    (place.home / "config.yaml").write_text("forks: many\n")
    assert complete(place, "reconciler describe E") == []
    assert not place.database_file.exists(), "looking makes nothing"


def test_tab_imports_nothing_heavy(place: Place) -> None:
    script = (
        "import os, sys; from reconciler.cli.main import cli\n"
        "try: cli.main([], prog_name='reconciler', standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "print({'sqlalchemy', 'kubernetes', 'flask', 'jsonschema', 'rich'} & set(sys.modules))"
    )
    env = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler describe E", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**place.environ, **env}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_accepted_by_it(place: Place, shell: str) -> None:
    script = place.run("completion", shell).out
    assert "_RECONCILER_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_with_it(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    place.apply()
    folder = place.root / "bin"
    folder.mkdir()
    program = folder / "reconciler"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler.cli.main "$@"\n')
    program.chmod(0o755)
    script = place.run("completion", "bash").out
    asked = "COMP_WORDS=(reconciler describe Entry/) COMP_CWORD=2\n_reconciler_completion reconciler"
    line = f'{asked}\necho "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{line}"],
        env={**place.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["Entry/one"]
