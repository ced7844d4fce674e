"""A new project on Flux, by the predecessor's acceptance rows: one is made, and all of it is looked at from outside."""

from __future__ import annotations

import ast
import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from project_lab import KUSTOMIZATIONS, SOURCES, ProjectLab, Shop

import reconciler.kinds.project
from reconciler.transports.kube import KubeTransport

TOKEN = "t0ken-that-nobody-may-see"
AUTH = {"auth": {"token": {"fromEnv": "RECONCILER_SECRET_SHOP"}}}
STEPS = ["resolve_credentials", "create_repository", "push_template", "create_environments", "create_db_records"]
STEPS += ["setup_gitops", "finalize"]
LABELS = ("app.kubernetes.io/managed-by", "reconciler.dev/kind", "reconciler.dev/name")


class Made:
    """A project that was made once for all tests here. first, second: what two applies asked the API."""

    def __init__(self, lab: ProjectLab) -> None:
        self.lab, self.cluster = lab, lab.clusters["dev"]
        gate = self.cluster.gate
        self.shop = Shop(lab, "shop", lab.repository(), {"repository": AUTH}, environ={"RECONCILER_SECRET_SHOP": TOKEN})
        gate.forget()
        self.printed = self.shop.apply()
        self.first, self.bodies = list(gate.passed), list(gate.bodies)
        gate.forget()
        self.printed += self.shop.apply()
        self.second = list(gate.passed)
        self.namespace = self.shop.namespace


@pytest.fixture(scope="module")
def made(lab: ProjectLab) -> Made:
    return Made(lab)


def flux_spec(made: Made, collection: str) -> dict[str, dict[str, Any]]:
    """The specs of live objects by name, with the id8 left out."""
    found = made.cluster.list(collection, made.namespace)
    return {one["metadata"]["name"].replace(made.shop.id[:8], "ID8"): one["spec"] for one in found}


def test_row_1_01_the_environments_step_made_the_environments(made: Made) -> None:
    rows = made.lab.environments("shop")
    assert [(row["type"], row["name"]) for row in rows] == [
        ("development", "Development"),
        ("staging", "Staging"),
        ("production", "Production"),
    ]


def test_row_1_02_environments_have_the_descriptions_and_approvals_of_the_document(made: Made) -> None:
    rows = made.lab.environments("shop")
    assert [row["description"] for row in rows] == ["开发环境", "预发布环境", "生产环境"]
    approvals = [json.loads(row["config"]) for row in rows]
    assert [(one["approvalRequired"], one["minApprovals"]) for one in approvals] == [(False, 1), (True, 1), (True, 2)]


def test_row_1_03_the_step_create_environments_is_there_and_the_weights_sum_to_100(made: Made) -> None:
    row = next(row for row in made.lab.init_steps("shop") if row["step"] == "create_environments")
    assert (row["display_name"], row["display_name_en"]) == ("创建环境", "Create the environments")
    journalled = made.lab.rows("SELECT s.* FROM steps s JOIN changes c ON c.id = s.change_id WHERE c.kind = 'Project'")
    weights = {row["name"]: row["weight"] for row in journalled}
    assert weights == dict(zip(STEPS, (5, 15, 20, 15, 10, 30, 5), strict=True))
    assert sum(weights.values()) == 100


def test_row_1_04_the_gitops_step_writes_one_source_and_three_kustomizations(made: Made) -> None:
    kinds = [path.split("/")[-2] for method, path in made.first if method == "PATCH"]
    assert kinds == ["namespaces", "secrets", "gitrepositories", *["kustomizations"] * 3], "and in this order"


def test_row_1_05_the_row_of_the_source_is_of_no_environment(made: Made) -> None:
    rows = made.shop.resources()
    source = next(row for row in rows if row["type"] == "git-repository")
    assert source["environment_id"] is None
    assert source["repository_id"] is not None
    assert all(row["environment_id"] and row["repository_id"] is None for row in rows if row is not source)


def test_row_1_06_a_second_run_leaves_four_rows(made: Made) -> None:
    assert sorted(row["type"] for row in made.shop.resources()) == ["git-repository", *["kustomization"] * 3]


def test_row_1_06_the_database_itself_refuses_a_second_source_row_without_environment(made: Made) -> None:
    columns = "project_id, type, cluster, namespace, name"
    with pytest.raises(Exception, match="UNIQUE constraint failed"):
        made.lab.write_sql(
            f"INSERT INTO gitops_resources (id, {columns}) SELECT 'another', {columns} FROM gitops_resources "
            "WHERE environment_id IS NULL"
        )


def test_row_1_09_the_paths_are_those_of_group_version_and_plural(made: Made) -> None:
    written = [path.partition("?")[0] for method, path in made.first if method == "PATCH"]
    namespace = made.namespace
    assert written[2].startswith(f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/gitrepositories/")
    prefix = f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{namespace}/kustomizations/"
    assert all(path.startswith(prefix) for path in written[3:])


def test_row_1_10_the_step_gives_the_ids_of_the_rows(made: Made) -> None:
    outputs = made.lab.rows("SELECT outputs FROM steps WHERE name = 'setup_gitops' AND outputs IS NOT NULL")
    ids = json.loads(outputs[0]["outputs"])
    rows = made.shop.resources()
    assert ids["gitRepositories"] == [row["id"] for row in rows if row["type"] == "git-repository"]
    assert sorted(ids["kustomizations"]) == sorted(row["id"] for row in rows if row["type"] == "kustomization")


def test_row_1_12_all_steps_are_completed(made: Made) -> None:
    rows = made.lab.init_steps("shop")
    assert [row["step"] for row in rows] == STEPS
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert {(row["status"], row["progress"], row["error"]) for row in rows} == {("completed", 100, None)}
    assert all(row["duration"] >= 0 and row["completed_at"] >= row["started_at"] for row in rows)
    assert (made.shop.row["status"], made.shop.row["progress"]) == ("active", 100)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_row_1_13_kubectl_lists_one_and_three(made: Made) -> None:
    command = ["kubectl", "--kubeconfig", str(made.cluster.kubeconfig), "get", "-n", made.namespace, "-o", "name"]
    done = subprocess.run([*command, "gitrepositories,kustomizations"], capture_output=True, text=True, check=True)
    kinds = [line.partition("/")[0] for line in done.stdout.splitlines()]
    assert kinds == ["gitrepository.source.toolkit.fluxcd.io", *["kustomization.kustomize.toolkit.fluxcd.io"] * 3]


def test_row_1_14_the_log_says_what_was_created(made: Made) -> None:
    logged = step_logs(made)
    for text in ("Created GitRepository", "Created Kustomization", "GitOps setup completed"):
        assert text in logged


def step_logs(made: Made) -> str:
    """Everything that steps have logged."""
    tables = [row["name"] for row in made.lab.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return "".join(str(row) for name in tables for row in made.lab.rows(f"SELECT * FROM {name}"))


def test_row_1_18_every_method_of_the_client_that_is_called_is_there() -> None:
    """By whatever name the client goes: mypy says the same of every type, this of every name."""
    folder = Path(reconciler.kinds.project.__file__).parent
    called = {
        node.func.attr
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_client(node.func.value)
    }
    assert {"get", "list", "apply", "delete", "resource_path"} <= called
    assert [name for name in sorted(called) if not callable(getattr(KubeTransport, name, None))] == []


def is_client(node: ast.expr) -> bool:
    """Whether an expression is the client of an API, as this kind calls it: `api`, `install.api`, `api_of(…)`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "api_of"
    return getattr(node, "attr", getattr(node, "id", "")) == "api"


def test_row_3_02_no_queue_no_event_and_no_daemon_takes_part(made: Made) -> None:
    """Everything was done by the one command: one run of it, one change, and nobody ever held a daemon's lease."""
    change = made.lab.rows("SELECT id, run_id FROM changes WHERE name = 'shop' ORDER BY id")[0]
    (run,) = made.lab.rows("SELECT trigger, pid FROM runs WHERE id = ?", change["run_id"])
    assert run["trigger"] == "apply"
    held = made.lab.rows("SELECT name, epoch FROM leases")
    assert {"name": "Project/shop", "epoch": 1} in held
    assert [one for one in held if one["name"] == "daemon"] == []
    assert made.lab.rows("SELECT * FROM tasks") == []
    order = made.lab.rows("SELECT name, epoch FROM steps WHERE change_id = ? ORDER BY id", change["id"])
    assert [row["name"] for row in order] == STEPS, "one change, from the first step to the last"
    assert {row["epoch"] for row in order} == {1}, "by one holder"


def test_row_3_06_setting_gitops_up_takes_less_than_5_seconds(made: Made) -> None:
    row = next(row for row in made.lab.init_steps("shop") if row["step"] == "setup_gitops")
    assert row["duration"] < 5000


def test_row_3_07_there_is_no_event_to_set_gitops_up() -> None:
    """Neither the predecessor's name, nor anything that could carry one: no events, queue, engine or daemon."""
    folder = Path(reconciler.kinds.project.__file__).parent
    sources = {path: path.read_text() for path in folder.parents[1].rglob("*.py")}
    assert [
        path for path, text in sources.items() if re.search(r"gitops[._]setup[._]request|on_?gitops", text, re.I)
    ] == []
    imported = {
        name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    carriers = re.compile(r"event|queue|reconciler\.(engine|daemon|store(?!\.tables))")
    assert [name for name in sorted(imported) if carriers.search(name)] == []


def test_row_3_09_every_path_is_a_folder_of_the_branch(made: Made) -> None:
    paths = [one["spec"]["path"] for one in made.cluster.list(KUSTOMIZATIONS, made.namespace)]
    folders = made.shop.repository.git("ls-tree", "-r", "-d", "--name-only", "main").split()
    assert len(paths) == 3
    assert all(path.removeprefix("./") in folders for path in paths)


def test_flux_case_1_a_new_project_makes_rows_and_objects_as_the_predecessor_did(made: Made) -> None:
    lab, shop, cluster = made.lab, made.shop, made.cluster
    assert (len(lab.environments("shop")), len(shop.resources()), len(lab.init_steps("shop"))) == (3, 4, 7)
    assert cluster.namespaces() == [f"project-{shop.id}"]
    namespace = cluster.client.get(f"/api/v1/namespaces/{made.namespace}")
    assert [namespace["metadata"]["labels"][name] for name in LABELS] == ["reconciler", "Project", "shop"]
    secret = cluster.client.get(shop.secret_path())
    assert secret["type"] == "kubernetes.io/basic-auth"
    decoded = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert decoded == {"username": "git", "password": TOKEN}
    reference = {"branch": "main"}
    assert flux_spec(made, SOURCES) == {
        "ID8-repo": {
            "interval": "1m",
            "url": shop.repository.url,
            "ref": reference,
            "secretRef": {"name": f"{shop.id[:8]}-repo-auth"},
            "suspend": False,
            "timeout": "60s",  # the definition's own default
        }
    }
    source = {"kind": "GitRepository", "name": f"{shop.id[:8]}-repo"}
    wanted = {
        f"ID8-{slug}": {"interval": "1m", "path": f"./k8s/overlays/{slug}", "prune": True, "sourceRef": source}
        for slug in ("development", "staging", "production")
    }
    found = flux_spec(made, KUSTOMIZATIONS)
    assert {name: {field: one[field] for field in wanted[name]} for name, one in found.items()} == wanted
    assert all(one.keys() - wanted[name].keys() <= {"force"} for name, one in found.items()), "which has a default"
    annotations = [one["metadata"]["annotations"] for one in cluster.list(KUSTOMIZATIONS, made.namespace)]
    assert all("reconcile.fluxcd.io/requestedAt" in one for one in annotations)


def test_flux_case_2_a_second_run_only_reads(made: Made) -> None:
    assert made.second
    assert {method for method, _ in made.second} == {"GET"}


def test_flux_case_10_the_token_is_nowhere_but_in_the_secret(made: Made) -> None:
    shapes = [TOKEN.encode(), base64.b64encode(TOKEN.encode())]
    assert TOKEN not in made.printed
    kept = [path for path in made.lab.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in kept)
    assert [path for path in kept if any(shape in path.read_bytes() for shape in shapes)] == []
    carrying = [
        path.split("/")[-2]
        for (_, path), body in zip(made.first, made.bodies, strict=True)
        if any(shape in body for shape in shapes)
    ]
    assert carrying == ["secrets"]
