"""Attack 11: the value of a Kubernetes Secret shows up somewhere between its manifest and the cluster."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from place import wait_for
from stage import Stage, cluster

from reconciler.kinds.cluster.rows import kubeconfig_path
from reconciler.transports.kube import KubeTransport

IN_FILE = "marker-in-file-5cc0"
ENCODED = "marker-encoded-77ab"
IN_ENVIRONMENT = "marker-in-environment-90fe"
IN_SECRET_FILE = "marker-in-secret-file-1d2e"
ROTATED = "marker-rotated-e4e4"
BY_HAND = "marker-by-hand-bb01"
INLINE = "marker-inline-3f3f"
MARKERS = (IN_FILE, ENCODED, IN_ENVIRONMENT, IN_SECRET_FILE, ROTATED, BY_HAND, INLINE)
DATABASE_SECRET = "/api/v1/namespaces/default/secrets/database"
TOKEN_SECRET = "/api/v1/namespaces/default/secrets/token"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str, **members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **members}


def traces() -> list[bytes]:
    """Every form in which a value could be recognised without the home's key."""
    plain = [form.encode() for marker in MARKERS for form in (marker, b64(marker))]
    return plain + [hashlib.sha256(form).hexdigest().encode() for form in plain]


def assert_nowhere(texts: dict[str, Any]) -> None:
    for where, text in texts.items():
        content = text if isinstance(text, bytes) else str(text).encode()
        found = [trace for trace in traces() if trace in content]
        assert not found, f"{where} holds {found}"


@pytest.fixture
def armed(stage: Stage) -> Stage:
    """Specs with a Secret of every spelling: in a file as text and in base64, by environment, by file."""
    stage.more = {
        "RECONCILER_SECRET_TOKEN": IN_ENVIRONMENT,
        "RECONCILER_SECRETS_FILES": str(stage.root / "vault"),
    }
    (stage.root / "vault").mkdir(mode=0o700)
    (stage.root / "vault" / "key").write_text(b64(IN_SECRET_FILE) + "\n")
    write_file(stage, IN_FILE)
    inline = secret(
        "token",
        stringData={"token": {"fromEnv": "RECONCILER_SECRET_TOKEN"}},
        data={"key": {"fromFile": str(stage.root / "vault" / "key")}},
    )
    stage.write("cluster.yaml", cluster("live", manifests=["database.manifest", inline]))
    return stage


def write_file(stage: Stage, password: str) -> None:
    """Not `*.yaml`, so that it is no document itself."""
    text = yaml.safe_dump(secret("database", stringData={"password": password}, data={"user": b64(ENCODED)}))
    (stage.specs / "database.manifest").write_text(text)


def look_everywhere(stage: Stage) -> dict[str, Any]:
    """All that the program shows of it, by command."""
    shown: dict[str, Any] = {}
    for command in (
        ("plan", stage.specs),
        ("plan", stage.specs, "-o", "json", "--out", stage.root / "plan.json"),
        ("plan", stage.root / "plan.json"),
        ("diff", stage.specs),
        ("validate", stage.specs, "-o", "json"),
        ("get", "-o", "yaml"),
        ("describe", "Cluster/live"),
        ("describe", "Cluster/live", "-o", "json"),
        ("history", "Cluster/live", "-o", "json"),
        ("logs", "Cluster/live"),
        ("events", "-o", "json"),
        ("doctor",),
    ):
        ran = stage.run("-vvv", *command, code=None)
        assert ran.code in (0, 1), (command, ran)
        assert "Traceback" not in ran.err, ran.err
        shown[" ".join(map(str, command))] = ran.out + ran.err
    shown["plan.json"] = (stage.root / "plan.json").read_bytes()
    return shown


def test_values_reach_the_cluster_and_nothing_else(armed: Stage) -> None:
    shown: dict[str, Any] = {"before": armed.run("-vvv", "plan", armed.specs, code=0)}
    applied = armed.run("-vvv", "apply", armed.specs, "--yes", "--diff", code=None)
    assert applied.code == 0, applied
    shown["apply"] = applied.out + applied.err
    path = kubeconfig_path(armed.home, "live")
    with KubeTransport(path) as api:
        database, token = api.get(DATABASE_SECRET), api.get(TOKEN_SECRET)
        assert database is not None
        assert token is not None
        assert database["data"] == {"password": b64(IN_FILE), "user": b64(ENCODED)}
        assert token["data"] == {"token": b64(IN_ENVIRONMENT), "key": b64(IN_SECRET_FILE)}
        assert armed.plan() == {}, "applied is as desired"

        api.apply(secret("database", data={"password": b64(BY_HAND)}), force=True)
        diffs = armed.plan()["Cluster/live"]["diffs"]
        paths = {entry["path"] for entry in diffs}
        assert 'spec.manifests["v1/Secret/database"].data.password' in paths, "a value changed by hand is drift"
        assert all({entry["before"], entry["after"]} <= {None, "***"} for entry in diffs)
        shown["drifted"] = [
            armed.run("-vvv", *one, code=None) for one in (("diff", armed.specs), ("get", "-o", "yaml"))
        ]
        shown["healed"] = armed.run("-vvv", "apply", armed.specs, "--yes", "--diff", code=None)

        write_file(armed, ROTATED)
        change = armed.plan()["Cluster/live"]
        assert [entry["path"] for entry in change["diffs"]] == ['spec.manifests["v1/Secret/database"].data.password']
        shown["rotated"] = armed.run("-vvv", "apply", armed.specs, "--yes", "-o", "json", code=None)
        database = api.get(DATABASE_SECRET)
        assert database is not None
        assert database["data"]["password"] == b64(ROTATED)
    shown["afterwards"] = look_everywhere(armed)
    assert_nowhere(shown)
    assert_nowhere(armed.kept())


def test_neither_page_nor_log_of_the_daemon_shows_a_value(armed: Stage) -> None:
    daemon = armed.daemon(options=("-vvv",), env={"RECONCILER_LOG_LEVEL": "debug"})
    wait_for(lambda: armed.ready("Cluster/live") == "AsDesired", 60)
    write_file(armed, ROTATED)
    wait_for(lambda: len(armed.rows("SELECT id FROM changes WHERE verdict = 'changed'")) == 2, 60)
    pages = dict(daemon.everything())
    assert "/resources/Cluster/live" in pages
    assert daemon.stop() == 0
    assert_nowhere({**pages, "log": daemon.said})
    assert_nowhere(armed.kept())


def test_a_value_left_to_others_stays_as_they_set_it(armed: Stage) -> None:
    rule = 'spec.manifests["v1/Secret/database"].data.password'
    armed.write("cluster.yaml", cluster("live", {"ignore": [rule]}, manifests=["database.manifest"]))
    armed.apply()
    with KubeTransport(kubeconfig_path(armed.home, "live")) as api:
        api.apply(secret("database", data={"password": b64(BY_HAND)}), force=True)
        text = yaml.safe_dump(secret("database", stringData={"password": IN_FILE, "more": IN_FILE}))
        (armed.specs / "database.manifest").write_text(text)
        armed.apply()
        there = api.get(DATABASE_SECRET)
    assert there is not None
    assert there["data"] == {"password": b64(BY_HAND), "more": b64(IN_FILE)}
    assert armed.plan() == {}
    assert_nowhere(armed.kept())


@pytest.mark.parametrize(
    "manifest",
    [
        secret("a", stringData={"password": INLINE}),
        secret("a", data={"password": b64(INLINE)}),
        secret("a", data=b64(INLINE)),
        secret("a", stringData={"password": {"fromEnv": "RECONCILER_SECRET_TOKEN", "value": INLINE}}),
        {"kind": "Secret", "metadata": {"name": "a"}, "data": {"password": b64(INLINE)}},
        {"apiVersion": "v1", "kind": "List", "items": [secret("a", stringData={"password": INLINE})]},
        {"kind": "List", "items": [{"kind": "List", "items": [secret("a", data={"password": b64(INLINE)})]}]},
    ],
    ids=["text", "base64", "no mapping", "beside a reference", "no version", "in a list", "in a list in a list"],
)
def test_a_value_written_into_a_document_is_refused_and_kept_nowhere(stage: Stage, manifest: dict[str, Any]) -> None:
    path = stage.write("cluster.yaml", cluster("live", manifests=[manifest]))
    ran = stage.run("-vvv", "apply", stage.specs, "--yes", "--keep-going", code=None)
    assert ran.code != 0 or "cluster.yaml:" in ran.err, ran
    assert f"{path.relative_to(stage.root)}:" in ran.err, ran.err
    created = stage.run(
        "-vvv", "create", "cluster", "api", "--set", f"manifests={json.dumps([manifest])}", "--no-apply", code=None
    )
    assert created.code == 1, created
    assert stage.rows("SELECT * FROM resources") == []
    assert_nowhere({"apply": ran.out + ran.err, "create": created.out + created.err})
    assert_nowhere(stage.kept())


def test_a_value_from_a_variable_is_refused_as_well(stage: Stage) -> None:
    stage.write("cluster.yaml", cluster("live", manifests=[secret("a", stringData={"password": "{{ password }}"})]))
    ran = stage.run("validate", stage.specs, "-e", f"password={INLINE}", code=1)
    assert "a secret never stands in a document" in ran.err
    assert_nowhere({"validate": ran.out + ran.err})


@pytest.mark.parametrize(
    "text",
    [
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata: {{a: !!binary {b64(INLINE)}}}\n",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata: {{a: {INLINE}}}\n",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: [{INLINE}]\n",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{}}\nstringData: {{a: {INLINE}}}\n",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{a: !x {INLINE}}}\n",
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{a: '{INLINE}\n",
    ],
    ids=["binary", "not base64", "no mapping", "no name", "a tag", "cut off"],
)
def test_a_file_that_is_no_good_secret_is_refused_without_its_value(stage: Stage, text: str) -> None:
    (stage.specs / "database.manifest").write_text(text)
    stage.write("cluster.yaml", cluster("live", manifests=["database.manifest"]))
    ran = stage.run("-vvv", "apply", stage.specs, "--yes", code=None)
    assert ran.code not in (0, 64), ran
    assert "database.manifest" in ran.out + ran.err
    assert_nowhere({"apply": ran.out + ran.err})
    assert_nowhere(stage.kept())


def test_the_store_survives_a_secret_whose_document_is_gone(armed: Stage) -> None:
    armed.apply()
    Path(armed.specs / "cluster.yaml").write_text("# nothing\n")
    (armed.specs / "other.yaml").write_text(yaml.safe_dump(cluster("other", {"suspend": True})))
    plan = armed.plan("--prune", code=0)
    assert plan["Cluster/live"]["action"] == "delete"
    armed.apply("--prune")
    assert not kubeconfig_path(armed.home, "live").exists()
