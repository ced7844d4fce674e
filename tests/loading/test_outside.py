"""Secrets and files that specs name: read only where allowed, noticed when they change, never shown."""

from __future__ import annotations

import hashlib
import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import SpecError
from reconciler.loading.loader import LoadOptions, resource_from_document
from reconciler.model.digest import canonical_json, stored_form
from reconciler.model.resource import ResourceRef
from reconciler.model.secret import Secret, SpecFile
from tests.loading.conftest import Specs, messages, vault
from tests.loading.kinds_for_tests import KINDS

VAULT = ResourceRef("Vault", "v")
VALUE = "hunter2-and-more"


@pytest.fixture
def specs(specs_with: Callable[..., Specs], tmp_path: Path) -> Specs:
    (tmp_path / "secrets").mkdir()
    return specs_with(
        secret_env=("APP_*",),
        secret_files=(str(tmp_path / "secrets"), str(tmp_path / "mounts" / "*" / "token")),
        environ={"APP_TOKEN": VALUE, "APP_EMPTY": "", "OTHER": "not yours", "APP_BAD": "\udcff"},
    )


def test_a_secret_comes_from_the_environment(specs: Specs) -> None:
    specs.write("a.yaml", vault("token: {fromEnv: APP_TOKEN}"))

    secret = specs.resource().spec["token"]

    assert isinstance(secret, Secret)
    assert (secret.reveal(), secret.origin) == (VALUE, "env:APP_TOKEN")


def test_a_secret_comes_from_a_file_without_its_last_line_break(specs: Specs, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "token").write_text(f"{VALUE}\n")
    for written in (
        "token",
        str(tmp_path / "secrets" / "token"),
        str(tmp_path / "secrets" / ".." / "secrets" / "token"),
    ):
        specs.write("a.yaml", vault(f"token: {{fromFile: {written}}}"))

        assert specs.resource().spec["token"].reveal() == VALUE


def test_a_home_relative_secret_file_is_found(specs: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secrets" / "token").write_text(VALUE)
    specs.write("a.yaml", vault("token: {fromFile: ~/secrets/token}"))

    assert specs.resource().spec["token"].reveal() == VALUE


def test_a_secret_file_may_match_a_pattern(specs: Specs, tmp_path: Path) -> None:
    path = tmp_path / "mounts" / "a" / "token"
    path.parent.mkdir(parents=True)
    path.write_text(VALUE)
    specs.write("a.yaml", vault(f"token: {{fromFile: {path}}}"))

    assert specs.resource().spec["token"].reveal() == VALUE


def test_secrets_are_found_wherever_the_schema_puts_them(specs: Specs) -> None:
    token = "{fromEnv: APP_TOKEN}"
    specs.write(
        "a.yaml",
        vault(
            f"login: {{user: me, password: {token}}}\n  keys: {{a: {token}}}\n"
            f"  tree: {{children: [{{secret: {token}}}, {{children: [{{secret: {token}}}]}}]}}"
        ),
    )

    spec = specs.resource().spec

    found = [
        spec["login"]["password"],
        spec["keys"]["a"],
        spec["tree"]["children"][0]["secret"],
        spec["tree"]["children"][1]["children"][0]["secret"],
    ]
    assert all(isinstance(secret, Secret) for secret in found)
    assert spec["login"]["user"] == "me"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{fromEnv: OTHER}", "environment variable OTHER may not be read: the setting secrets.env allows APP_*"),
        ("{fromEnv: APP_NONE}", "environment variable APP_NONE is not set"),
        ("{fromEnv: APP_EMPTY}", "environment variable APP_EMPTY is empty"),
        ("{fromEnv: APP_BAD}", "env APP_BAD is not UTF-8 text"),
        ("{fromFile: /etc/passwd}", 'secret file "/etc/passwd" may not be read: the setting secrets.files allows'),
        ("{fromFile: ../specs/a.yaml}", 'secret file "../specs/a.yaml" may not be read'),
        ("{fromFile: missing}", 'secret file "missing" does not exist'),
        ("{fromFile: empty}", 'secret file "empty" is empty'),
        ("{fromFile: large}", 'secret file "large" has 1,000,001 bytes, more than 1,000,000'),
        ("{fromFile: folder}", 'secret file "folder" is not a regular file'),
        ("{fromFile: fifo}", 'secret file "fifo" is not a regular file'),
        ("{fromFile: binary}", 'secret file "binary" is not UTF-8 text'),
        ("{fromFile: link}", 'secret file "link" may not be read'),
        ('{fromFile: "a\\0b"}', "holds a NUL"),
        ("{fromFile: ~nobodyatall/x}", "there is no such home folder"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named_and_not_shown(
    specs: Specs, tmp_path: Path, reference: str, expected: str
) -> None:
    secrets = tmp_path / "secrets"
    (secrets / "empty").write_text("\n")
    (secrets / "large").write_bytes(b"x" * 1_000_001)
    (secrets / "folder").mkdir()
    os.mkfifo(secrets / "fifo")
    (secrets / "binary").write_bytes(VALUE.encode() + b"\xff")
    (tmp_path / "elsewhere").write_text(VALUE)
    (secrets / "link").symlink_to(tmp_path / "elsewhere")
    specs.write("a.yaml", vault(f"token: {reference}"))

    problem = specs.problem()

    assert problem.startswith("a.yaml:5:")
    assert expected in problem
    assert VALUE not in problem


def test_nothing_is_allowed_unless_somebody_allows_it(specs_with: Callable[..., Specs], tmp_path: Path) -> None:
    specs = specs_with(environ={"APP_TOKEN": VALUE}, secret_files=("relative/folder",))
    specs.write("a.yaml", vault("token: {fromEnv: APP_TOKEN}\n  keys: {a: {fromFile: specs/a.yaml}}"))

    assert [message.partition(": the setting")[0] for message in messages(specs.load())] == [
        "a.yaml:5:3: spec.token: environment variable APP_TOKEN may not be read",
        'a.yaml:6:10: spec.keys.a: secret file "specs/a.yaml" may not be read',
    ]


def test_relative_rules_for_secret_files_allow_nothing(
    specs_with: Callable[..., Specs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the current folder would decide what may be read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text(VALUE)
    specs = specs_with(secret_files=(".",))
    specs.write("a.yaml", vault("token: {fromFile: here}"))

    assert "may not be read" in specs.problem()


@pytest.mark.parametrize(
    "spec",
    [
        f"token: {VALUE}",
        f"token: [{VALUE}]",
        f"token: {{fromEnv: APP_TOKEN, value: {VALUE}}}",
        f"login: {VALUE}",
        f"login: [{VALUE}]",
        f"login: {{password: {VALUE}}}",
        f"keys: {{a: {VALUE}}}",
        f"keys: {VALUE}",
        f"tree: {{children: {VALUE}}}",
        f"token: '{{{{ undefined }}}}{VALUE}'",
        f"token: '{{{{ {VALUE[:5]} + 1 }}}}{VALUE}'",
        f"token: '${{late}}{VALUE}'",
    ],
)
def test_a_secret_written_into_a_document_is_refused_and_not_shown(specs: Specs, spec: str) -> None:
    specs.write("a.yaml", vault(spec))

    result = specs.load()

    assert result.resources == {}
    assert result.problems
    assert VALUE not in repr(result)


def test_a_secret_written_into_a_document_is_answered_with_what_to_write(specs: Specs) -> None:
    specs.write("a.yaml", vault(f"token: {VALUE}"))

    assert specs.problem() == (
        "a.yaml:5:3: spec.token: a secret never stands in a document: write {fromEnv: NAME} or {fromFile: path}"
    )


def test_a_secret_appears_in_nothing_that_a_load_returns(specs: Specs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    specs.write("a.yaml", vault("token: {fromEnv: APP_TOKEN}"))

    result = specs.load()

    resource = result.resources[VAULT]
    assert VALUE not in f"{result!r}{resource!r}{resource.spec}{caplog.text}"
    assert VALUE not in canonical_json(stored_form(resource.spec, b"key"))
    with pytest.raises(TypeError):
        canonical_json(resource.spec)


def test_a_traceback_of_an_unreadable_secret_does_not_hold_it(specs: Specs, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "binary").write_bytes(VALUE.encode() + b"\xff")
    document = {
        "apiVersion": "reconciler.dev/v1",
        "kind": "Vault",
        "metadata": {"name": "v"},
        "spec": {"token": {"fromFile": "binary"}},
    }
    with pytest.raises(SpecError) as caught:
        resource_from_document(document, KINDS, LoadOptions(secret_files=(str(tmp_path / "secrets"),)), "api")

    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_rotated_secret_file_is_a_change(specs: Specs, tmp_path: Path) -> None:
    token = tmp_path / "secrets" / "token"
    token.write_text("first")
    specs.write("a.yaml", vault("token: {fromFile: token}"))
    before = specs.load()
    assert specs.load().changed == frozenset()

    token.write_text("second")
    after = specs.load()

    assert after.changed == {VAULT}
    assert after.resources[VAULT].digest != before.resources[VAULT].digest
    assert after.resources[VAULT].spec["token"].reveal() == "second"


def test_a_secret_that_appears_and_disappears_is_noticed(specs: Specs, tmp_path: Path) -> None:
    token = tmp_path / "secrets" / "token"
    specs.write("a.yaml", vault("token: {fromFile: token}"))
    assert len(specs.load().problems) == 1

    token.write_text("first")
    assert messages(specs.load()) == []

    token.unlink()
    result = specs.load()
    assert len(result.problems) == 1
    assert result.resources[VAULT].spec["token"].reveal() == "first"


def test_a_changed_environment_is_noticed(specs: Specs) -> None:
    specs.write("a.yaml", vault("token: {fromEnv: APP_TOKEN}"))
    specs.load()

    specs.options["environ"]["APP_TOKEN"] = "second"

    assert specs.load().changed == {VAULT}


def test_secrets_with_another_key_have_another_digest(specs: Specs) -> None:
    document = {
        "apiVersion": "reconciler.dev/v1",
        "kind": "Vault",
        "metadata": {"name": "v"},
        "spec": {"token": {"fromEnv": "APP_TOKEN"}},
    }
    digests = {
        resource_from_document(
            document,
            KINDS,
            LoadOptions(digest_key=key, secret_env=("*",), environ={"APP_TOKEN": VALUE}),
            "api",
        ).digest
        for key in (b"one", b"two")
    }

    assert len(digests) == 2


def test_a_file_beside_the_document_is_read_with_it(specs: Specs) -> None:
    specs.write("team/scripts/run.sh", "echo ${HOME} {{ nothing }}\n")
    specs.write("team/a.yaml", vault("script: scripts/run.sh\n  manifests: [scripts/run.sh, {kind: Inline}]"))

    spec = specs.resource().spec

    assert spec["script"].text == "echo ${HOME} {{ nothing }}\n"
    assert spec["script"].sha256 == hashlib.sha256(b"echo ${HOME} {{ nothing }}\n").hexdigest()
    assert spec["manifests"] == [spec["script"], {"kind": "Inline"}]


def test_a_file_may_lie_above_the_document_but_not_above_the_root(specs: Specs) -> None:
    specs.write("common.sh", "echo\n")
    specs.write("team/a.yaml", vault("script: ../common.sh"))

    assert specs.resource().spec["script"].path == "../common.sh"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("../outside.txt", '"../outside.txt" leads out of the specs'),
        ("x/../../outside.txt", '"x/../../outside.txt" leads out of the specs'),
        ("/etc/hostname", '"/etc/hostname" leads out of the specs'),
        ("~/x", '"~/x" leads out of the specs'),
        ("link.txt", 'file "link.txt" leads out of'),
        (".hidden/folder/outside.txt", 'file ".hidden/folder/outside.txt" leads out of'),
        ("missing.txt", 'file "missing.txt" does not exist'),
        ("binary.txt", 'file "binary.txt" is not UTF-8 text'),
        ("fifo.txt", 'file "fifo.txt" is not a regular file'),
        ("large.txt", 'file "large.txt" has 10,000,001 bytes, more than 10,000,000'),
        (".", 'file "." is not a regular file'),
    ],
)
def test_a_file_that_may_not_or_cannot_be_read_is_named(
    specs: Specs, tmp_path: Path, written: str, expected: str
) -> None:
    (tmp_path / "outside.txt").write_text("x")
    (specs.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    specs.write("binary.txt", b"\xff")
    specs.write("large.txt", b"")
    os.truncate(specs.root / "large.txt", 10_000_001)
    os.mkfifo(specs.root / "fifo.txt")
    (specs.root / ".hidden").mkdir()
    (specs.root / ".hidden" / "folder").symlink_to(tmp_path)
    specs.write("a.yaml", vault(f"script: {written}"))

    assert specs.problem().startswith(f"a.yaml:5:3: spec.script: {expected}")


def test_an_edited_file_is_a_change_and_nothing_else_is_read(specs: Specs) -> None:
    specs.write("run.sh", "one\n")
    specs.write("a.yaml", vault("script: run.sh"))
    specs.load()

    specs.write("run.sh", "two\n")
    result = specs.load()

    assert result.changed == {VAULT}
    assert result.resources[VAULT].spec["script"].text == "two\n"


def test_a_file_anywhere_is_known_by_digest_alone(specs: Specs, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text("password: secret\n")
    specs.write("a.yaml", vault(f"kubeconfig: {config}"))
    before = specs.load().resources[VAULT]

    config.write_text("password: other\n")
    after = specs.load()

    assert before.spec["kubeconfig"] == SpecFile(str(config), hashlib.sha256(b"password: secret\n").hexdigest())
    assert before.spec["kubeconfig"].text == ""
    assert after.changed == {VAULT}


def test_a_field_that_is_a_file_in_one_form_is_a_text_in_another(specs: Specs) -> None:
    specs.write("x.txt", "content")
    specs.write("a.yaml", vault("provider: {type: file, config: x.txt}"))
    assert isinstance(specs.resource().spec["provider"]["config"], SpecFile)

    specs.write("a.yaml", vault("provider: {type: inline, config: x.txt}"))
    assert specs.resource().spec["provider"]["config"] == "x.txt"


def test_an_unknown_form_is_named_by_the_field_that_decides(specs: Specs) -> None:
    specs.write("a.yaml", vault("provider: {type: flie, config: x}"))

    assert specs.problem() == (
        'a.yaml:5:14: spec.provider.type: "flie" is not allowed here, expected file or inline, did you mean "file"?'
    )


def test_late_values_are_allowed_only_where_the_schema_says(specs: Specs) -> None:
    specs.write("a.yaml", vault("address: 'https://${host}/'"))
    assert specs.resource().spec["address"] == "https://${host}/"

    specs.write("a.yaml", vault("title: 'https://${host}/'"))
    assert specs.problem() == "a.yaml:5:3: spec.title: ${host} is known only later and not allowed in this field"


@pytest.mark.parametrize("text", ["'$host'", "'${}'", "'${1}'", "'${HOME:-x}'", "'$ {a}'"])
def test_what_only_looks_like_a_late_value_is_text(specs: Specs, text: str) -> None:
    specs.write("a.yaml", vault(f"title: {text}"))

    assert specs.resource().spec["title"] == text.strip("'")


@pytest.mark.parametrize("text", [r'"\x24{host}"', r'"$\x7bhost}"'])
def test_a_late_value_cannot_be_hidden_by_escapes(specs: Specs, text: str) -> None:
    specs.write("a.yaml", vault(f"title: {text}"))

    assert "is known only later" in specs.problem()


def test_files_cannot_be_named_by_documents_that_are_no_files(tmp_path: Path) -> None:
    document = {
        "apiVersion": "reconciler.dev/v1",
        "kind": "Vault",
        "metadata": {"name": "v"},
        "spec": {"script": "run.sh", "kubeconfig": "relative"},
    }
    with pytest.raises(SpecError) as caught:
        resource_from_document(document, KINDS, LoadOptions(), "api")

    assert caught.value.message.splitlines() == [
        "spec.script: a file can only be named in a document that is itself a file",
        'spec.kubeconfig: "relative" must be an absolute path or start with ~',
    ]
