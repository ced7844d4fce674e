"""Settings come from one declaration; every mistake in them is a usage error with its place."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reconciler.errors import UsageError
from reconciler.kinds import discover
from reconciler.loading.kind_settings import kind_settings_document
from reconciler.loading.settings import (
    Settings,
    describe_settings,
    load_settings,
    settings_document,
    settings_schema,
)

ROOT = Path(__file__).parents[2]
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def refusal(config: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(config, {"RECONCILER_HOME": "/nowhere", **environ})
    return caught.value.message


def test_without_file_and_variables_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(None, {"RECONCILER_HOME": str(tmp_path)})

    assert settings.home == tmp_path
    assert settings.specs is None
    assert (settings.forks, settings.observers, settings.prune, settings.max_deletes) == (8, 32, False, 5)
    assert (settings.unsettled_interval, settings.shutdown_timeout, settings.lease_ttl) == (30.0, 30.0, 30.0)
    assert (settings.busy_timeout, settings.observe_timeout) == (30.0, 30.0)
    assert (settings.debounce, settings.debounce_max) == (0.02, 0.2)
    assert (settings.backoff.min, settings.backoff.max) == (1.0, 300.0)
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8080)
    assert (settings.log.format, settings.log.level) == ("console", "info")
    assert settings.secrets.env == ("RECONCILER_SECRET_*",)
    assert settings.secrets.files == (str(tmp_path / "secrets"),)
    assert (settings.defaults, settings.kinds, settings.plugins, settings.db_url) == ({}, {}, (), "")
    assert dataclasses.astuple(settings.kubeconfig) == (False, False, False)
    assert (settings.git.interval, settings.git.branch, settings.git.force_updates) == (60.0, "main", False)
    assert (settings.git.env, settings.git.files) == ((), ())


EVERYTHING: dict[str, tuple[str, str, Any]] = {
    "home": ("/h", "/h", Path("/h")),
    "specs": ("/s", "/s", Path("/s")),
    "dbUrl": ("sqlite:///x", "sqlite:///x", "sqlite:///x"),
    "forks": ("3", "3", 3),
    "observers": ("4", "4", 4),
    "prune": ("true", "TRUE", True),
    "maxDeletes": ("0", "0", 0),
    "unsettledInterval": ("5s", "5s", 5.0),
    "shutdownTimeout": ("1m", "60", 60.0),
    "leaseTtl": ("500ms", "0.5", 0.5),
    "busyTimeout": ("1h30m", "1h30m", 5400.0),
    "observeTimeout": ("2.5", "2.5", 2.5),
    "debounce": ("1ms", "1ms", 0.001),
    "debounceMax": ("1s", "1s", 1.0),
    "backoff.min": ("2s", "2s", 2.0),
    "backoff.max": ("2m", "2m", 120.0),
    "web.host": ("::1", "::1", "::1"),
    "web.port": ("0", "0", 0),
    "web.allowedHosts": ("[a.example, b.example]", "a.example, b.example", ("a.example", "b.example")),
    "log.format": ("json", "json", "json"),
    "log.level": ("debug", "debug", "debug"),
    "secrets.env": ("[A_*, B]", "A_*, B", ("A_*", "B")),
    "secrets.files": ("[/a, /b/*]", "/a,/b/*", ("/a", "/b/*")),
    "defaults": ("{Cluster: {a: 1}}", '{"Cluster": {"a": 1}}', {"Cluster": {"a": 1}}),
    "kinds": ("{Cluster: {}}", '{"Cluster": {}}', {"Cluster": {}}),
    "plugins": ("[my.kind]", "my.kind", ("my.kind",)),
    "kubeconfig.allowExec": ("true", "1", True),
    "kubeconfig.allowProxy": ("true", "yes", True),
    "kubeconfig.allowTokenFile": ("true", "true", True),
    "git.url": ("https://g/a", "https://g/a", "https://g/a"),
    "git.branch": ("prod", "prod", "prod"),
    "git.path": ("a/b", "a/b", "a/b"),
    "git.interval": ("5m", "5m", 300.0),
    "git.timeout": ("5s", "5s", 5.0),
    "git.forceUpdates": ("true", "true", True),
    "git.sshKey": ("/k", "/k", Path("/k")),
    "git.knownHosts": ("/n", "/n", Path("/n")),
    "git.tokenFile": ("/t", "/t", Path("/t")),
    "git.username": ("robot", "robot", "robot"),
    "git.caFile": ("/c", "/c", Path("/c")),
    "git.useProxy": ("true", "true", True),
    "git.webhookSecretFile": ("/w", "/w", Path("/w")),
    "git.env": ("[A]", "A", ("A",)),
    "git.files": ("[/a]", "/a", ("/a",)),
}


def value_of(settings: Settings, attribute: tuple[str, ...]) -> Any:
    value: Any = settings
    for name in attribute:
        value = getattr(value, name)
    return value


def test_the_table_of_this_test_names_every_key() -> None:
    assert {key.name for key in describe_settings()} == set(EVERYTHING)
    assert {key.variable for key in describe_settings()} >= {"RECONCILER_MAX_DELETES", "RECONCILER_WEB_PORT"}


@pytest.mark.parametrize("key", describe_settings(), ids=lambda key: key.name)
def test_every_key_can_be_set_in_the_file_and_by_its_variable(key: Any, write: Write) -> None:
    in_file, in_variable, expected = EVERYTHING[key.name]
    *section, leaf = key.name.split(".")
    text = f"{section[0]}: {{{leaf}: {in_file}}}\n" if section else f"{leaf}: {in_file}\n"
    if key.name == "web.host":
        text = text.replace("::1", '"::1"')

    assert value_of(load_settings(write(text), {}), key.attribute) == expected
    assert value_of(load_settings(None, {key.variable: in_variable}), key.attribute) == expected


def test_a_variable_wins_over_the_file(write: Write) -> None:
    assert load_settings(write("forks: 2\n"), {"RECONCILER_FORKS": "3"}).forks == 3


def test_an_empty_variable_is_none_but_empties_a_list(write: Write) -> None:
    config = write("forks: 2\nplugins: [a]\n")

    settings = load_settings(config, {"RECONCILER_FORKS": "", "RECONCILER_SPECS": "", "RECONCILER_PLUGINS": ""})

    assert (settings.forks, settings.specs, settings.plugins) == (2, None, ())


def test_the_order_of_files_is_option_variable_home(tmp_path: Path) -> None:
    for number, name in enumerate(("option.yaml", "variable.yaml", "config.yaml"), start=1):
        (tmp_path / name).write_text(f"forks: {number}\n")
        (tmp_path / name).chmod(0o600)
    home = {"RECONCILER_HOME": str(tmp_path)}
    both = {**home, "RECONCILER_CONFIG": str(tmp_path / "variable.yaml")}

    assert load_settings(tmp_path / "option.yaml", both).forks == 1
    assert load_settings(None, both).forks == 2
    assert load_settings(None, home).forks == 3


def test_the_current_folder_is_never_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.yaml", "reconciler.yaml", ".reconciler.yaml", "settings.yaml"):
        (tmp_path / name).write_text("forks: 99\n")
    monkeypatch.chdir(tmp_path)

    assert load_settings(None, {"RECONCILER_HOME": str(tmp_path / "home")}).forks == 8


def test_relative_paths_start_at_the_file_or_at_the_current_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    in_file = load_settings(write("home: h\nspecs: ../s\nsecrets: {files: [x]}\n"), {})
    in_variable = load_settings(None, {"RECONCILER_HOME": "h", "RECONCILER_SPECS": "s"})

    assert (in_file.home, in_file.specs) == (tmp_path / "h", tmp_path.parent / "s")
    assert in_file.secrets.files == (str(tmp_path / "h" / "x"),)
    assert (in_variable.home, in_variable.specs) == (tmp_path / "here" / "h", tmp_path / "here" / "s")


def test_the_default_home_belongs_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load_settings(None, {}).home == Path("/var/lib/reconciler")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load_settings(None, {"HOME": "/home/me"}).home == Path("/home/me/.local/state/reconciler")
    assert load_settings(None, {"HOME": "/home/me", "XDG_STATE_HOME": "/s"}).home == Path("/s/reconciler")
    assert load_settings(None, {"HOME": "/home/me", "XDG_STATE_HOME": "s"}).home.is_relative_to("/home/me")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fork: 2\n", ':1:1: fork: unknown field "fork", did you mean "forks"?'),
        ("web: {prot: 2}\n", ':1:7: web.prot: unknown field "prot", did you mean "port"?'),
        ("a: 1\nforks: 0\n", ":1:1: a: unknown field"),
        ("forks: 0\n", ":1:1: forks: 0 is less than 1"),
        ("forks: 257\n", ":1:1: forks: 257 is more than 256"),
        ("forks: '2'\n", ':1:1: forks: expected a whole number, got "2"'),
        ("forks: true\n", ":1:1: forks: expected a whole number, got true"),
        ("prune: yes\n", ':1:1: prune: expected true or false, got "yes": write true or false'),
        ("leaseTtl: 5 minutes\n", ':1:1: leaseTtl: "5 minutes" is not a duration'),
        ("leaseTtl: 1ms\n", ":1:1: leaseTtl: 0.001 is less than 0.1"),
        ("leaseTtl: 0\n", ":1:1: leaseTtl: 0 is less than 0.1"),
        ("leaseTtl: 999999d\n", ":1:1: leaseTtl: '999999d' is not between 0 and a year"),
        ("web: 5\n", ":1:1: web: expected a mapping, got 5"),
        ("web:\n", ":1:1: web: expected a mapping, got nothing (null)"),
        ("web: {port: 70000}\n", ":1:7: web.port: 70000 is more than 65535"),
        ("log: {level: loud}\n", ':1:7: log.level: "loud" is not allowed here, expected debug, info, warning or error'),
        ("plugins: a\n", ':1:1: plugins: expected a list, got "a"'),
        ("plugins: [1]\n", ":1:11: plugins[0]: expected a string, got 1: put it in quotes"),
        ("defaults: {Cluster: 1}\n", ":1:12: defaults.Cluster: expected a mapping, got 1"),
        ("specs: 5\n", ":1:1: specs: expected a string, got 5"),
        ("- a\n", ":1:1: expected a mapping, got a list"),
        ("forks: [\n", ":2:1: "),
        ("forks: 1\nforks: 2\n", ":2:1: duplicate key forks"),
        ("forks: 1\n---\nforks: 2\n", ":3:1: only one document is allowed"),
        ("forks: !!python/object:x 1\n", ":1:8: tag"),
    ],
)
def test_a_mistake_in_the_file_is_placed(text: str, expected: str, write: Write) -> None:
    config = write(text)

    assert refusal(config, {}).startswith(f"{config}{expected}")


def test_all_mistakes_are_reported_in_order(write: Write) -> None:
    message = refusal(write("forks: 0\nwebb: {}\nprune: 3\n"), {})

    assert [line.split(":")[1] for line in message.splitlines()] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("RECONCILER_FORKS", "x", "expected a whole number, got 'x'"),
        ("RECONCILER_FORKS", "0", "0 is less than 1"),
        ("RECONCILER_FORKS", "9" * 5000, "is more than 256"),
        ("RECONCILER_PRUNE", "maybe", "expected true or false, got 'maybe'"),
        ("RECONCILER_LEASE_TTL", "nan", "is not between 0 and a year"),
        ("RECONCILER_LEASE_TTL", "soon", "'soon' is not a duration"),
        ("RECONCILER_LOG_LEVEL", "loud", "expected debug or info or warning or error, got 'loud'"),
        ("RECONCILER_KINDS", "{", "Expecting property name"),
        ("RECONCILER_KINDS", "[]", "expected dict, got '[]'"),
        ("RECONCILER_KINDS", "[" * 100_000, "is nested too deeply"),
        ("RECONCILER_DEFAULTS", '{"A": 1}', "expected dict, got '1'"),
    ],
)
def test_a_mistake_in_a_variable_names_it(variable: str, text: str, expected: str) -> None:
    message = refusal(None, {variable: text})

    assert message.startswith(f"environment variable {variable}: ")
    assert expected in message
    assert len(message) < 400


KIND_MISTAKES = [
    ("{Clutser: {}}", "kinds.Clutser", 'no kind "Clutser" is installed, did you mean "Cluster"?'),
    ("{Cluster: {port: {}}}", "kinds.Cluster.port", 'unknown field "port", did you mean "ports"?'),
    ("{Cluster: {ports: {http: 18090}}}", "kinds.Cluster.ports.http", "expected a string, got 18090"),
    ("{Cluster: {ports: {http: all}}}", "kinds.Cluster.ports.http", '"all" is not two ports from 1024 to 65535'),
    ("{Cluster: {addressTimeout: -1}}", "kinds.Cluster.addressTimeout", "-1 is less than 0"),
    ("{Cluster: {envtest: {assets: a/b}}}", "kinds.Cluster.envtest.assets", '"a/b" is not an absolute path'),
]


@pytest.mark.parametrize(("written", "key", "message"), KIND_MISTAKES)
def test_a_mistake_in_the_settings_of_a_kind_is_placed(written: str, key: str, message: str, write: Write) -> None:
    config = write(f"forks: 2\nkinds:\n  {written}\n")
    told = refusal(config, {})
    assert told.startswith(f"{config}:3:")
    assert f": {key}: {message}" in told
    told = refusal(config, {"RECONCILER_KINDS": json.dumps(yaml.safe_load(written))})
    assert told.startswith(f"environment variable RECONCILER_KINDS: {key}: {message}")


def test_a_kind_from_outside_says_what_its_settings_are(write: Write) -> None:
    config = write("plugins: [entry_kind]\nkinds: {Entry: {file: /live.json, hang: 5}}\n")
    assert load_settings(config, {}).kinds == {"Entry": {"file": "/live.json", "hang": 5}}
    told = refusal(write("plugins: [entry_kind]\nkinds: {Entry: {file: /live.json, hnag: 5}}\n"), {})
    assert told == f'{config}:2:35: kinds.Entry.hnag: unknown field "hnag", did you mean "hang"?'


def test_limits_that_contradict_each_other_are_refused() -> None:
    assert refusal(None, {"RECONCILER_BACKOFF_MIN": "1h"}) == "backoff.min (3600s) is more than backoff.max (300s)"
    assert "debounce (1s) is more" in refusal(None, {"RECONCILER_DEBOUNCE": "1s"})


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.yaml", {})
    assert "cannot be read" in refusal(None, {"RECONCILER_CONFIG": str(tmp_path / "none.yaml")})


def test_a_fifo_as_settings_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.yaml", 0o600)

    assert "is not a regular file" in refusal(tmp_path / "settings.yaml", {})


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_settings_that_others_can_write_are_refused(write: Write, mode: int) -> None:
    config = write("forks: 1\n")
    config.chmod(mode)

    assert "can be written by group or others" in refusal(config, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_settings_of_another_user_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write("forks: 1\n")
    os.chown(config, 12345, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "belongs to another user (uid 12345)" in refusal(config, {})


def test_a_database_address_is_not_in_the_repr() -> None:
    settings = load_settings(None, {"RECONCILER_DB_URL": "mysql://u:hunter2@h/d"})

    assert "hunter2" not in repr(settings)
    assert settings.db_url.endswith("@h/d")


def test_the_schema_is_valid_and_described_and_accepts_what_is_accepted() -> None:
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    flat = list(schema["properties"].values())
    flat += [leaf for member in flat for leaf in member.get("properties", {}).values()]

    assert all(member["description"] for member in flat)


def test_the_documentation_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "settings.md").read_text()
    assert written == settings_document() + kind_settings_document(discover())
    assert (
        "| `kinds.Cluster.ports.http` | two ports from 1024 to 65535 | 18090-18999 | Range for `httpPort`. |" in written
    )
    assert all(f"`{key.name}`" in settings_document() for key in describe_settings())


def test_importing_the_settings_is_cheap() -> None:
    script = (
        "import sys\nbefore = set(sys.modules)\nfrom reconciler.loading.settings import load_settings\n"
        "load_settings(None, {'RECONCILER_HOME': '/nowhere', 'RECONCILER_FORKS': '3'})\n"
        "heavy = {'yaml', 'json', 'jsonschema', 'jsonschema_rs', 'jinja2', 'difflib', 'sqlalchemy', 'kubernetes'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_loading_correct_specs_imports_nothing_that_only_errors_or_variables_need(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: reconciler.dev/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 1}\n"
    )
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from reconciler.loading.loader import DirectorySource, Loader, LoadOptions\n"
        "from tests.loading.kinds_for_tests import KINDS\n"
        f"result = Loader(DirectorySource(Path({str(tmp_path)!r})), KINDS, LoadOptions()).load()\n"
        "assert len(result.resources) == 1, result\n"
        "print(sorted({'jsonschema', 'jinja2', 'sqlalchemy', 'kubernetes'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"
