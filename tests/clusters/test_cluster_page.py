"""The page over real clusters: what it shows, and what it must not show."""

from __future__ import annotations

import base64
import http.client
import json
from urllib.parse import urlsplit

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import Daemon, until

PASSWORD = "hunter2-never-to-be-seen"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"
CREDENTIALS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "credentials", "namespace": "default"},
    "stringData": {"password": {"fromEnv": "RECONCILER_SECRET_PASSWORD"}},
}


def pages(lab: SandboxLab, daemon: Daemon) -> dict[str, tuple[int, str]]:
    """Everything that can be read: pages and their JSON twins, by path."""
    runs = [row["id"] for row in lab.rows("SELECT id FROM runs")]
    steps = [row["id"] for row in lab.rows("SELECT id FROM steps")]
    paths = ["/", "/resources", "/resources/Cluster/dev", "/graph", "/runs", *(f"/runs/{run}" for run in runs)]
    twins = ["overview", "resources", "resources/Cluster/dev", "graph", "runs", "events", "problems"]
    paths += [f"/api/v2/{twin}" for twin in twins] + [f"/api/v2/steps/{step}/log" for step in steps]
    return {path: daemon.get(path) for path in (*paths, "/metrics")}


def test_row_9_05_status_page(lab: SandboxLab) -> None:
    """Clusters and the last run; neither the manifest's password nor the cluster's token; every value escaped."""
    lab.write("dev.yaml", cluster("dev", description=MARKUP, manifests=[CREDENTIALS]), cluster("uat"))
    daemon = lab.daemon(RECONCILER_SECRET_PASSWORD=PASSWORD)
    lab.await_ready("Cluster/dev", "Cluster/uat")
    until(lambda: not lab.rows("SELECT * FROM runs WHERE state = 'running'"))
    seen = pages(lab, daemon)
    assert {code for code, _ in seen.values()} == {200}, {path: code for path, (code, _) in seen.items() if code != 200}
    for name in ("Cluster/dev", "Cluster/uat"):
        kind, _, bare = name.partition("/")
        assert kind in seen["/"][1]
        assert bare in seen["/resources"][1]
    last = lab.rows("SELECT max(id) AS id FROM runs")[0]["id"]
    assert f'href="/runs/{last}"' in seen["/"][1]
    assert {run["state"] for run in json.loads(seen["/api/v2/runs"][1])["runs"]} == {"succeeded"}
    token = json.loads((lab.kubeconfigs / "dev.yaml").read_text())["users"][0]["user"]["token"]
    hidden = (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), token)
    for path, (_, text) in seen.items():
        assert not [secret for secret in hidden if secret in text], path
        if not path.startswith("/api"):
            assert MARKUP not in text, path
    assert "&lt;script&gt;alert(1)" in seen["/resources/Cluster/dev"][1]


def test_row_9_05_the_page_sets_no_cookie_and_lets_nobody_frame_it(lab: SandboxLab) -> None:
    daemon = lab.daemon()
    place = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    try:
        for method, wanted in (("GET", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405)):
            connection.request(method, "/")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == wanted, method
            assert answer.headers["Set-Cookie"] is None
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "script-src 'self'" in (answer.headers["Content-Security-Policy"] or "")
    finally:
        connection.close()
    assert place.hostname == "127.0.0.1"
