"""The predecessor's tables, as it had them before its last change, become ours with every row that was in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from project_lab import KUSTOMIZATIONS, ProjectLab

import reconciler.kinds.cluster
import reconciler.kinds.project
from reconciler.errors import DatabaseError
from reconciler.store.database import Database
from reconciler.store.schema import open_database

FOLDERS = [Path(module.__file__).parent for module in (reconciler.kinds.cluster, reconciler.kinds.project)]
SHOP = "0d3f1a2b-1111-4222-8333-444455556666"
OLD = f"""
CREATE TABLE projects (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL, name TEXT NOT NULL, slug TEXT NOT NULL,
  description TEXT, visibility TEXT NOT NULL DEFAULT 'private', status TEXT NOT NULL DEFAULT 'active', config TEXT,
  deleted_at TEXT, created_at TEXT, updated_at TEXT);
CREATE TABLE environments (id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name TEXT NOT NULL, type TEXT NOT NULL, description TEXT, status TEXT NOT NULL DEFAULT 'active', config TEXT,
  created_at TEXT, updated_at TEXT);
CREATE TABLE repositories (id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  provider TEXT NOT NULL, full_name TEXT NOT NULL, clone_url TEXT NOT NULL, default_branch TEXT DEFAULT 'main',
  created_at TEXT, updated_at TEXT);
CREATE TABLE gitops_resources (id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  environment_id TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
  repository_id TEXT NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
  type TEXT NOT NULL, name TEXT NOT NULL, namespace TEXT NOT NULL, config TEXT, status TEXT NOT NULL DEFAULT 'pending',
  created_at TEXT, updated_at TEXT, UNIQUE (project_id, environment_id, name));
CREATE TABLE project_initialization_steps (id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE, step TEXT NOT NULL, display_name TEXT NOT NULL,
  sequence INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'pending', progress INTEGER NOT NULL DEFAULT 0,
  started_at TEXT, completed_at TEXT, updated_at TEXT);
INSERT INTO projects (id, organization_id, name, slug, created_at, updated_at)
  VALUES ('{SHOP}', 'org', 'The Shop', 'shop', '2025-12-31 08:00:00', '2025-12-31 08:00:00');
INSERT INTO environments VALUES ('e1', '{SHOP}', 'Development', 'development', NULL, 'active', '{{}}', NULL, NULL);
INSERT INTO environments VALUES ('e2', '{SHOP}', 'Staging', 'staging', NULL, 'active', NULL, NULL, NULL);
INSERT INTO repositories VALUES ('r1', '{SHOP}', 'github', 'acme/shop', 'https://github.com/acme/shop.git', NULL, NULL,
  NULL);
INSERT INTO gitops_resources VALUES ('g1', '{SHOP}', 'e1', 'r1', 'git-repository', '0d3f1a2b-repo', 'project-{SHOP}',
  '{{"interval":"1m"}}', 'pending', '2025-12-31 08:00:00', '2025-12-31 08:00:00');
INSERT INTO gitops_resources VALUES ('g2', '{SHOP}', 'e2', 'r1', 'git-repository', '0d3f1a2b-repo', 'project-{SHOP}',
  '{{"interval":"5m"}}', 'ready', '2025-12-31 08:00:00', '2025-12-31 09:00:00');
INSERT INTO gitops_resources VALUES ('g3', '{SHOP}', 'e1', 'r1', 'kustomization', '0d3f1a2b-development',
  'project-{SHOP}', NULL, 'pending', NULL, NULL);
INSERT INTO project_initialization_steps VALUES
  ('s1', '{SHOP}', 'setup_gitops', '配置 GitOps', 6, 'failed', 70, '2025-12-31 08:00:00', NULL, '2025-12-31 08:00:00');
INSERT INTO project_initialization_steps VALUES
  ('s2', '{SHOP}', 'setup_gitops', '配置 GitOps', 6, 'completed', 90, NULL, NULL, '2025-12-31 09:00:00');
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD)
    database = open_database(f"sqlite:///{path}", FOLDERS)
    yield database
    database.close()


def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(str(database.engine.url.database))) as connection:
        return [tuple(row) for row in connection.execute(sql)]


def test_row_1_07_the_columns_become_nullable_and_the_rows_stay(opened: Database) -> None:
    nullable = (
        "SELECT name, \"notnull\" FROM pragma_table_info('gitops_resources') WHERE name LIKE '%_id' ORDER BY name"
    )
    assert rows(opened, nullable) == [("environment_id", 0), ("project_id", 1), ("repository_id", 0)]
    assert rows(opened, "SELECT id, name, slug, organization_id, status FROM projects") == [
        (SHOP, "The Shop", "shop", "org", "active")
    ]
    assert rows(opened, "SELECT id, type FROM environments ORDER BY id") == [("e1", "development"), ("e2", "staging")]
    assert rows(opened, "SELECT id, default_branch FROM repositories") == [("r1", "main")]
    kept = "SELECT id, environment_id, repository_id, status FROM gitops_resources ORDER BY id"
    assert rows(opened, kept) == [("g2", "e2", "r1", "ready"), ("g3", "e1", "r1", "pending")]
    assert rows(opened, "SELECT id, progress FROM project_initialization_steps") == [("s2", 90)], "the last of a step"
    assert rows(opened, "SELECT created_at FROM projects") == [(1767168000.0,)], "seconds since the epoch"
    assert rows(opened, "PRAGMA foreign_key_check") == []
    assert rows(opened, "SELECT name FROM sqlite_master WHERE name LIKE 'before_%'") == []


def test_a_copy_of_the_file_is_kept_before(opened: Database) -> None:
    (copy,) = Path(str(opened.engine.url.database)).parent.glob("old.db.before-*")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM gitops_resources").fetchone() == (3,)


def test_rows_whose_project_is_not_there_are_kept_with_one_that_stands_for_it(tmp_path: Path) -> None:
    path = tmp_path / "part.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE gitops_resources (id TEXT, project_id TEXT NOT NULL, environment_id TEXT NOT NULL, "
            "repository_id TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, namespace TEXT NOT NULL)"
        )
        connection.execute("INSERT INTO gitops_resources VALUES ('g1', 'p1', 'e1', 'r1', 'kustomization', 'n', 'ns')")
        connection.commit()
    with closing(open_database(f"sqlite:///{path}", FOLDERS)) as database:
        assert rows(database, "SELECT id, environment_id FROM gitops_resources") == [("g1", None)]
        assert rows(database, "SELECT id, status FROM projects") == [("p1", "inactive")]


def test_tables_of_the_same_name_of_another_program_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE projects (number INTEGER)")
    with pytest.raises(DatabaseError, match="another program"):
        open_database(f"sqlite:///{path}", FOLDERS)


def test_a_project_that_was_taken_over_keeps_its_id_and_so_its_objects(lab: ProjectLab) -> None:
    """Its document claims the row by its slug; objects of the predecessor are taken over as they are."""
    cluster = lab.clusters["dev"]
    lab.write_sql(f"INSERT INTO projects (id, name, slug, status) VALUES ('{SHOP}', 'The Shop', 'taken', 'active')")
    namespace = f"project-{SHOP}"
    for path, body in (
        ("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        (
            KUSTOMIZATIONS.format(f"namespaces/{namespace}/"),
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": {"name": "0d3f1a2b-development", "namespace": namespace},
                "spec": {
                    "interval": "1m",
                    "path": "./k8s/overlays/development",
                    "prune": True,
                    "sourceRef": {"kind": "GitRepository", "name": "0d3f1a2b-repo"},
                },
            },
        ),
    ):
        status, answer = cluster.client.call("POST", path, body)
        assert status == 201, answer
    (before,) = cluster.list(KUSTOMIZATIONS, namespace)
    shop = lab.shop("taken")
    shop.apply()
    assert shop.id == SHOP
    after = {one["metadata"]["name"]: one["metadata"]["uid"] for one in cluster.list(KUSTOMIZATIONS, namespace)}
    assert len(after) == 3
    assert after["0d3f1a2b-development"] == before["metadata"]["uid"]
    assert shop.plan() is None
