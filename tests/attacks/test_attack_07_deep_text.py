"""Attack 7 beside the specs: nesting that exhausts a recursive reader, in everything else that is read as YAML."""

from __future__ import annotations

import json
from collections.abc import Callable

from place import entry
from stage import Stage, cluster

DEEP: dict[str, Callable[[], str]] = {
    "brackets": lambda: "[" * 200_000,
    "closed brackets": lambda: "[" * 100_000 + "]" * 100_000,
    "mappings": lambda: "{a: " * 100_000,
    "sequences": lambda: "- " * 100_000,
    "in a value": lambda: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: " + "[" * 100_000,
}


def test_deep_manifests_and_kubeconfigs_fail_their_clusters_and_the_process_lives(stage: Stage) -> None:
    documents = [entry("healthy")]
    for number, make in enumerate(DEEP.values()):
        (stage.specs / f"{number}.manifest").write_text(make())
        documents.append(cluster(f"deep{number}", manifests=[f"{number}.manifest"]))
        path = stage.root / f"kubeconfig{number}"
        path.write_text(make())
        path.chmod(0o600)
        documents.append(cluster(f"far{number}", provider="existing", kubeconfig={"path": str(path)}))
    stage.write("all.yaml", *documents)
    ran = stage.run("apply", stage.specs, "--yes", code=3)
    for number in range(len(DEEP)):
        assert f"({number}.manifest)" in ran.out
        assert f"kubeconfig{number} is not YAML" in ran.out
    assert "healthy" in stage.there()


def test_deep_values_on_the_command_line_are_usage_errors(stage: Stage) -> None:
    deep = DEEP["closed brackets"]()
    (stage.root / "deep.txt").write_text(deep)
    stage.write("one.yaml", entry("one"))
    set_one = ("create", "entry", "one", "--no-apply", "--set", "text=x", "--set", f"tags={deep[:60_000]}")
    for command in (("plan", stage.specs, "-e", f"@{stage.root / 'deep.txt'}"), set_one):
        ran = stage.run(*command, code=None)
        assert ran.code == 64, (command[0], ran.code, ran.err[-300:])
        assert "internal error" not in ran.err


def test_a_deep_plan_file_is_no_plan_file(stage: Stage) -> None:
    path = stage.root / "plan.json"
    for text in ("[" * 200_000, '{"digest": ' + "[" * 100_000 + "]" * 100_000 + "}", json.dumps({"digest": [[[]]]})):
        path.write_text(text)
        ran = stage.run("apply", path, code=64)
        assert "is not a plan file" in ran.err
