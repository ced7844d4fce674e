"""Rows of a project as its kind keeps them, written past it: what the page and the API show of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, update

from reconciler.kinds.project.tables import environments, gitops_resources, project_initialization_steps, projects
from reconciler.store.database import Database

ID = "0d3f1a2b-1111-2222-3333-444455556666"
NAMESPACE = f"project-{ID}"
MESSAGE = "kustomize build failed: accumulating resources: k8s/overlays/production not found"
STEPS = (
    ("resolve_credentials", "解析凭据", "Resolve credentials"),
    ("create_repository", "创建仓库", "Create the repository"),
    ("push_template", "推送项目模板", "Push the template"),
    ("create_environments", "创建环境", "Create environments"),
    ("create_db_records", "创建数据库记录", "Record everything"),
    ("setup_gitops", "配置 GitOps", "Set up GitOps"),
    ("finalize", "完成初始化", "Finish"),
)
ENVIRONMENTS = (
    ("development", "ready", "ReconciliationSucceeded", "Applied revision: main@sha1:4f2a9c1d"),
    ("staging", "reconciling", "Progressing", "Reconciliation in progress"),
    ("production", "failed", "BuildFailed", MESSAGE),
)


def put_project(database: Database, name: str = "shop", *, done: int = 7, error: str = "") -> None:
    """A project whose first `done` steps are completed and the next is running, or failed with `error`."""
    with database.write() as connection:
        status = "failed" if error else "active" if done == len(STEPS) else "initializing"
        row: dict[str, Any] = {"id": ID, "name": name, "resource": name, "slug": name, "status": status}
        row |= {"cluster": "dev", "namespace": NAMESPACE, "progress": min(100, done * 15)}
        connection.execute(insert(projects).values(**row, initialization_error=error or None))
        connection.execute(insert(project_initialization_steps), _steps(done, error))
        for sequence, (type_, *_) in enumerate(ENVIRONMENTS, 1):
            values = {"id": f"e{sequence}", "project_id": ID, "name": type_.capitalize(), "type": type_, "slug": type_}
            values |= {"sequence": sequence, "cluster": "dev", "path": f"./k8s/overlays/{type_}"}
            connection.execute(insert(environments).values(**values, config='{"approvalRequired": true}'))
        source = _object("git-repository", "0d3f1a2b-repo", None, ("ready", "Succeeded", "stored artifact"))
        objects = [
            _object("kustomization", f"0d3f1a2b-{one[0]}", f"e{n}", one[1:]) for n, one in enumerate(ENVIRONMENTS, 1)
        ]
        connection.execute(insert(gitops_resources), [source, *objects])


def say(database: Database, environment: str, status: str, reason: str, message: str) -> None:
    """Flux says something else of an environment."""
    chosen = update(gitops_resources).where(gitops_resources.c.name == f"0d3f1a2b-{environment}")
    with database.write() as connection:
        told = {"status": status, "status_reason": reason, "status_message": message}
        connection.execute(chosen.values(**told, updated_at=database.now(connection)))


def _steps(done: int, error: str) -> list[dict[str, Any]]:
    found = []
    for sequence, (step, shown, english) in enumerate(STEPS):
        is_next = sequence == done
        status = "completed" if sequence < done else ("failed" if error else "running") if is_next else "pending"
        found.append(
            {
                "id": f"s{sequence}",
                "project_id": ID,
                "step": step,
                "display_name": shown,
                "display_name_en": english,
                "sequence": sequence,
                "status": status,
                "progress": 100 if sequence < done else 40 if is_next else 0,
                "duration": 1200 if sequence < done else None,
                "error": error if is_next and error else None,
            }
        )
    return found


def _object(type_: str, name: str, environment: str | None, told: Sequence[str]) -> dict[str, Any]:
    status, reason, message = told
    return {
        "id": name,
        "project_id": ID,
        "environment_id": environment,
        "type": type_,
        "name": name,
        "namespace": NAMESPACE,
        "cluster": "dev",
        "status": status,
        "status_reason": reason,
        "status_message": message,
        "last_applied_revision": "main@sha1:4f2a9c1d7e" if status == "ready" else None,
    }
