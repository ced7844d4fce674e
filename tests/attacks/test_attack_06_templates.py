"""Templates of projects: values stay values, template code gets nowhere, and no folder leads out of itself."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ReconcilerError, SpecError
from reconciler.kinds import discover
from reconciler.kinds.project.templates import Facts, Overlay, locate, render
from reconciler.kinds.project.templates.folders import MAX_FILE_BYTES, MAX_FILES
from reconciler.kinds.project.templates.quoting import quoted
from reconciler.loading.loader import Loader, LoadOptions
from reconciler.loading.sources import DirectorySource

OVERLAYS = [Overlay("staging", "staging", "./k8s/overlays/staging")]
TEXT = {"variables": {"text": {"type": ["string", "array", "boolean"], "description": "Anything.", "default": ""}}}
ALIKE = (
    "yes",
    "null",
    "1e5",
    "0x10",
    "0o7",
    "~",
    "1_000",
    "2001-01-01",
    "=",
    "<<",
    "",
    " ",
    "- a",
    "a: b",
    "# a",
    "*a",
)
HOSTILE = (
    'a"\nadmin: true\n#',
    "'; admin: true; '",
    "{{ 7 * 7 }}",
    "{% for a in b %}",
    "${HOME} $(id) `id` ; rm -rf /",
    "---\nkind: ClusterRoleBinding",
    "a\u2028admin: true",
    "a\u0085admin: true",
    "\ufeffa",
    "\x00\x1b[2J\x7f",
    "!!python/object/apply:os.system ['id']",
    "&a [*a, *a]",
    "\U000e0001\U0001f600",
)


def template(folder: Path, files: dict[str, str], manifest: Any = TEXT) -> Path:
    """A template folder of somebody's own."""
    for name, text in {"template.json": json.dumps(manifest), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def rendered(folder: Path, **variables: Any) -> dict[str, bytes]:
    return render(folder, variables, OVERLAYS, Facts("shop"))


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.lists(st.text(), max_size=3)))
def test_whatever_a_value_is_it_stays_one_value_in_its_place(value: Any) -> None:
    text = f"a: {quoted(value)} # b\nc: [{quoted(value)}, 1]\n"
    assert yaml.safe_load(text) == {"a": value, "c": [value, 1]}
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("value", [*ALIKE, *HOSTILE], ids=ascii)
def test_text_that_looks_like_yaml_or_a_template_is_text(value: str, tmp_path: Path) -> None:
    files = {
        "files/a.yaml.j2": "a: {{ variables.text }}\nb: {{ 'x' ~ variables.text }}\n{{ variables.text }}: c\n",
        "overlay/b.yaml.j2": "text: |\n  {{ variables.text }}\nlast: 1\n",
    }
    found = rendered(template(tmp_path / "t", files), text=value)
    assert yaml.safe_load(found["a.yaml"]) == {"a": value, "b": f"x{value}", value: "c"}
    assert yaml.safe_load(found["k8s/overlays/staging/b.yaml"])["last"] == 1


@pytest.mark.parametrize(
    "code",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ variables.__class__ }}",
        "{{ variables.items }}",
        "{{ variables['text'] }}",
        "{{ self }}",
        "{{ range(10) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ variables.text | attr('x') }}",
        "{{ variables.text | replace('', variables.text) }}",
        "{{ variables.text is mapping }}",
        "{% set a = 1 %}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'template.json' %}",
        "{% import 'a' as a %}",
        "{% extends 'a' %}",
        "{% for a in [1, 2] %}{% endfor %}",
        "{% for a in b for c in d %}{% endfor %}",
        "{% for a in project %}{% for b in project %}{% for c in project %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ nobody }}",
        "{{ variables.nothing }}",
        "{{ variables.text",
    ],
)
def test_template_code_that_does_more_than_fill_in_is_refused(code: str, tmp_path: Path) -> None:
    folder = template(tmp_path / "t", {"files/a.yaml.j2": f"# first\na: {code}\n"})
    with pytest.raises(SpecError, match=r"template file files/a\.yaml\.j2|files/a\.yaml\.j2 gives"):
        rendered(folder)


def test_loops_end_and_what_comes_out_is_bounded(tmp_path: Path) -> None:
    loop = "{% for a in variables.text %}{% for b in variables.text %}" + "x" * 100_000 + "{% endfor %}{% endfor %}"
    folder = template(tmp_path / "t", {"files/a.yaml.j2": loop})
    started = time.monotonic()
    with pytest.raises(SpecError, match="gives more than"):
        rendered(folder, text=["a"] * 900)
    assert time.monotonic() - started < 20
    with pytest.raises(SpecError, match="more than 1000 values"):
        rendered(folder, text=["a"] * 1001)


def test_links_special_files_and_what_is_no_template_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    link, folder_link, pipe = (template(tmp_path / name, {"files/a.yaml": "a: 1\n"}) for name in ("l", "f", "p"))
    (link / "files" / "b").symlink_to(secret)
    (folder_link / "files" / "b").symlink_to(tmp_path)
    os.mkfifo(pipe / "files" / "b")
    bare = tmp_path / "bare"
    bare.mkdir()
    hidden = template(tmp_path / "h", {"files/.git/config": "[core]\n"})
    beside = template(tmp_path / "b", {"elsewhere/a.yaml": "a: 1\n"})
    for folder, fault in (
        (link, "files/b is a link"),
        (folder_link, "files/b is a link"),
        (pipe, "files/b is no regular file"),
        (bare, "has no template.json"),
        (hidden, "cannot stand in a repository"),
        (beside, "is in neither files nor overlay"),
        (tmp_path / "nowhere", "No such file"),
    ):
        with pytest.raises(SpecError, match=fault) as caught:
            rendered(folder)
        assert "s3cret" not in caught.value.message


def test_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large = template(tmp_path / "large", {"files/a": ""})
    with (large / "files" / "a").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(SpecError, match="has more than"):
        rendered(large)
    single = template(tmp_path / "single", {"files/a": "x" * (MAX_FILE_BYTES + 1)})
    with pytest.raises(SpecError, match="files/a has more than"):
        rendered(single)
    many = template(tmp_path / "many", {f"files/{number}": "" for number in range(MAX_FILES + 1)})
    with pytest.raises(SpecError, match="has more than"):
        rendered(many)


@pytest.mark.parametrize("path", ["../t", "a/../../t", "/etc", "~/t", "a\0b", "", "link", "link/inner", "missing"])
def test_a_template_path_leads_nowhere_else(path: str, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    (template(tmp_path / "t", {}) / "inner").mkdir()
    specs.mkdir()
    (specs / "link").symlink_to(tmp_path / "t")
    with pytest.raises(SpecError, match=r"template\.path"):
        locate(path, specs)
    with pytest.raises(SpecError, match=r"template\.path"):
        locate(path, None)


def test_absolute_paths_lead_only_into_folders_that_the_settings_name(tmp_path: Path) -> None:
    inner = template(tmp_path / "allowed" / "web", {})
    template(tmp_path / "allowed-not" / "web", {})
    allowed = [str(tmp_path / "other"), str(tmp_path / "allowed")]
    assert locate(str(inner), None, allowed) == inner
    assert locate("web", tmp_path / "allowed") == inner
    for path in (tmp_path / "allowed-not" / "web", tmp_path / "allowed" / ".." / "allowed-not" / "web", tmp_path):
        with pytest.raises(SpecError, match="templateFolders allows"):
            locate(str(path), None, allowed)


@pytest.mark.parametrize("path", ["../a", "/etc", "a/../../b", ".git/hooks", ".", "a/\n/b"])
def test_an_environments_path_stays_in_the_repository(path: str, tmp_path: Path) -> None:
    folder = template(tmp_path / "t", {"overlay/a.yaml": "a: 1\n"})
    with pytest.raises(SpecError, match="is no folder of a repository"):
        render(folder, {}, [Overlay("staging", "staging", path)], Facts("shop"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repository.url", "ext::sh -c 'touch /tmp/pwned'"),
        ("repository.url", "--upload-pack=touch"),
        ("repository.url", "https://user:token@git.example/a.git"),
        ("repository.url", "https://git.example/a.git\nb"),
        ("repository.branch", "--upload-pack=touch"),
        ("repository.branch", "main;id"),
        ("repository.branch", "$(id)"),
        ("repository.name", "../../etc"),
        ("repository.apiUrl", "file:///etc/passwd"),
        ("slug", "a/../b"),
        ("slug", "{{ 7 * 7 }}"),
        ("namespace", "kube-system;id"),
        ("namespace", "${HOME}"),
        ("template.name", "../web-app"),
        ("environments[0].path", "../../etc"),
        ("environments[0].path", "a/../../b"),
        ("environments[0].path", "/etc"),
        ("environments[0].slug", "-a"),
        ("environments[0].host", "a.example\nb"),
        ("flux.url", "ssh://-oProxyCommand=touch/x y"),
        ("flux.interval", "1m; id"),
    ],
)
def test_shell_text_options_and_paths_in_a_projects_fields_are_refused(field: str, value: str, tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "cluster": "dev",
        "repository": {"provider": "github", "name": "acme/shop"},
        "template": {"name": "web-app"},
        "environments": [{"type": "staging"}],
        "flux": {},
    }
    where, _, last = field.replace("[0]", ".0").rpartition(".")
    place: Any = spec
    for part in filter(None, where.split(".")):
        place = place[int(part)] if part.isdigit() else place[part]
    place[last] = value
    document = {"apiVersion": "reconciler.dev/v1", "kind": "Project", "metadata": {"name": "shop"}, "spec": spec}
    cluster = {"apiVersion": "reconciler.dev/v1", "kind": "Cluster", "metadata": {"name": "dev"}, "spec": {}}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all([document, cluster]))
    kinds = discover()
    loaded = Loader(DirectorySource(tmp_path), kinds, LoadOptions(digest_key=b"test")).load()
    said = [str(problem) for problem in loaded.problems]
    for resource in (one for one in loaded.resources if one.ref.kind == "Project"):
        with pytest.raises(ReconcilerError) as caught:
            kinds["Project"].normalize(resource)
        said.append(caught.value.message)
    assert said
    assert last in said[0]
