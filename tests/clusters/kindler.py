"""What the predecessor left to its users: its table of clusters as CSV and as an SQLite file, written by us."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

CSV = """\
# env,provider,node_port,pf_port,register_portainer,haproxy_route,http_port,https_port,cluster_subnet

# the management cluster
devops,k3d,30800,19000,false,false,23800,23843,

dev,k3d,30080,19001,true,true,18090,18443,10.101.0.0/16
uat,k3d,30080,19002,true,true,18091,18444,10.102.0.0/16
prod,k3d,30080,19003,true,true,18092,18445,10.103.0.0/16

dev-a,kind,30081,19011,true,true,18093,18446,
dev-b,kind,30082,19012,true,true,18094,18447,
dev-c,kind,30083,19013,true,true,18095,18448,
"""
NAMES = ["dev", "dev-a", "dev-b", "dev-c", "devops", "prod", "uat"]
SCHEMA = """
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, provider TEXT NOT NULL, subnet TEXT,
    node_port INTEGER, pf_port INTEGER, http_port INTEGER, https_port INTEGER, server_ip TEXT,
    status TEXT DEFAULT 'unknown', desired_state TEXT DEFAULT 'present', actual_state TEXT DEFAULT 'unknown',
    last_reconciled_at TIMESTAMP, reconcile_error TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_clusters_name ON clusters(name);
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cluster_name TEXT NOT NULL, operation TEXT NOT NULL, status TEXT NOT NULL,
    log_output TEXT, started_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, completed_at TIMESTAMP, error_message TEXT,
    FOREIGN KEY (cluster_name) REFERENCES clusters(name) ON DELETE CASCADE
);
"""
ROWS = """
INSERT INTO clusters (id, name, provider, subnet, node_port, pf_port, http_port, https_port, server_ip, status,
    desired_state, actual_state, last_reconciled_at, created_at, updated_at)
VALUES (3, 'devops', 'k3d', NULL, 30800, 19000, 23800, 23843, '10.100.255.2', 'running', 'present', 'running',
        '2025-11-10 09:00:00', '2025-11-05 10:00:00', '2025-11-10 09:00:00'),
       (7, 'dev', 'k3d', '10.101.0.0/16', 30080, 19001, 18090, 18443, '10.101.0.4', 'running', 'present', 'running',
        NULL, '2025-11-06 11:22:33', '2025-11-07 00:00:00'),
       (8, 'dev-a', 'kind', NULL, 30081, 19011, 18093, 18446, NULL, 'failed', 'present', 'failed',
        NULL, '2025-11-06 12:00:00', '2025-11-06 12:00:00'),
       (9, 'gone', 'kind', NULL, NULL, NULL, NULL, NULL, NULL, 'absent', 'absent', 'absent', NULL,
        '2025-11-06 13:00:00', '2025-11-06 13:00:00');
UPDATE clusters SET reconcile_error = 'Cluster no longer accessible' WHERE name = 'dev-a';
INSERT INTO operations (cluster_name, operation, status, log_output) VALUES ('dev', 'create', 'completed', 'done');
"""
COLUMNS = {
    "id",
    "name",
    "provider",
    "subnet",
    "node_port",
    "pf_port",
    "http_port",
    "https_port",
    "server_ip",
    "status",
    "desired_state",
    "actual_state",
    "last_reconciled_at",
    "reconcile_error",
    "created_at",
    "updated_at",
}


def write_database(path: Path, script: str = SCHEMA + ROWS) -> None:
    """A kindler.db as the predecessor left it: four clusters, one of them deleted and still recorded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
    path.chmod(0o600)
