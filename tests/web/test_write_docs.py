"""docs/api.md names every route that writes, its commands work, and the description for programs is whole."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask.testing import FlaskClient

from reconciler.store.database import Database
from tests.clusters.sandbox_lab import SandboxLab
from tests.web.write_lab import token_of
from web.admission import Admission
from web.app import create_flask_app
from web.writing import Writer

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def routes(database: Database, writing: tuple[Writer, Admission]) -> set[tuple[str, str]]:
    """Method and path of everything under /api that writes or is older."""
    rules = create_flask_app(database, None, writing).url_map.iter_rules()
    found = {(method, re.sub(r"<\w+:", "<", rule.rule)) for rule in rules for method in rule.methods or ()}
    return {one for one in found if one[1].startswith("/api/") and one[0] not in ("HEAD", "OPTIONS")}


def test_the_page_names_every_route_that_writes(database: Database, writing: tuple[Writer, Admission]) -> None:
    text = PAGE.read_text()
    named = {(method, path) for method, path in re.findall(r"`(POST|DELETE) (/api/v2/[^`]+)`", text)}
    assert named == {one for one in routes(database, writing) if one[0] != "GET" and one[1].startswith("/api/v2/")}
    older = {path for _, path in routes(database, writing) if not path.startswith("/api/v2/")}
    assert [path for path in sorted(older) if f"{path}`" not in text] == []


def test_the_description_for_programs_is_whole(
    writable: FlaskClient, database: Database, writing: tuple[Writer, Admission]
) -> None:
    described = writable.get("/api/v2/openapi.json").json
    listed = {
        (method.upper(), re.sub(r"{(\w+)}", r"<\1>", path))
        for path, operations in described["paths"].items()
        for method in operations
    }
    assert listed == routes(database, writing)
    ids = [one["operationId"] for operations in described["paths"].values() for one in operations.values()]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'"\$ref": ?"(#[^"]+)"', json.dumps(described)):
        place: Any = described
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    unsafe = [
        one for path in described["paths"].values() for method, one in path.items() if method in ("post", "delete")
    ]
    assert all(one["security"] == [{"token": []}] for one in unsafe)
    schema = {**described, "$ref": "#/components/schemas/Cluster"}
    jsonschema.Draft202012Validator(schema).validate({"metadata": {"name": "a"}, "spec": {"agents": 1}})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"metadata": {"name": "A"}})


def test_the_commands_of_the_page_work(tmp_path_factory: pytest.TempPathFactory) -> None:
    lab = SandboxLab(tmp_path_factory.mktemp("d"))
    try:
        daemon = lab.daemon()
        block = re.search(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert block is not None
        commands = [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ curl")]
        assert len(commands) == 4
        known = {"$PAGE": daemon.url, "$TOKEN": token_of(lab)}
        printed = []
        for command in commands:
            for name, value in known.items():
                command = command.replace(name, value)
            done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60, check=True)
            printed.append(json.loads(done.stdout))
        assert json.dumps(printed[0], separators=(",", ":")) in block[1]
        assert [answer.get("resource", answer.get("ref")) for answer in printed] == ["Cluster/dev"] * 4
    finally:
        lab.close()
