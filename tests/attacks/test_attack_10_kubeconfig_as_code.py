"""Attack 10 from one end to the other: a spec names a kubeconfig that runs a program or leads elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from stage import Stage, cluster

TOKEN = "marker-token-of-a-kubeconfig-aa17"


def kubeconfig(path: Path, user: dict[str, Any], **more: Any) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1", **more}}],
        "users": [{"name": "x", "user": user}],
    }
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


def test_nothing_runs_and_nothing_is_read_and_each_says_why(stage: Stage) -> None:
    pwned, token = stage.root / "pwned", stage.root / "elsewhere-token"
    token.write_text(TOKEN)
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [str(pwned)]}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "exec": ({"exec": program}, {}),
        "provider": ({"auth-provider": {"name": "gcp", "config": {"cmd-path": f"touch {pwned}"}}}, {}),
        "tokenfile": ({"tokenFile": str(token)}, {}),
        "proxy": ({"token": TOKEN}, {"proxy-url": "http://127.0.0.1:9"}),
        "metadata": ({"token": TOKEN}, {"server": "https://169.254.169.254"}),
        "plain": ({"token": TOKEN}, {"server": "http://127.0.0.1:1"}),
        "both": ({"token": TOKEN}, {"insecure-skip-tls-verify": True, "certificate-authority-data": "Zm9v"}),
    }
    documents = []
    for name, (user, more) in cases.items():
        path = kubeconfig(stage.root / f"{name}.conf", user, **more)
        documents.append(cluster(name, provider="existing", kubeconfig={"path": str(path)}))
    stage.write("all.yaml", *documents)
    ran = stage.run("-vvv", "apply", stage.specs, "--yes", code=None)
    assert ran.code == 1, ran
    rows = {row["name"]: row for row in stage.rows("SELECT * FROM statuses WHERE kind = 'Cluster'")}
    reasons = {name: rows[name]["reason"] for name in cases}
    assert set(reasons.values()) <= {"UnsafeKubeconfig", "BadKubeconfig"}, reasons
    assert not pwned.exists()
    everything = [ran.out, ran.err, *(content.decode("latin-1") for content in stage.kept().values())]
    assert not [text for text in everything if TOKEN in text]


def test_a_spec_cannot_allow_itself_what_only_the_operator_may(stage: Stage) -> None:
    pwned = stage.root / "pwned"
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [str(pwned)]}}
    path = kubeconfig(stage.root / "kubeconfig", user)
    (stage.specs / "config.yaml").write_text("kubeconfig: {allowExec: true}\n")
    stage.write("all.yaml", cluster("a", provider="existing", kubeconfig={"path": str(path)}))
    ran = stage.run("apply", "all.yaml", "--yes", "--keep-going", code=None, cwd=stage.specs)
    assert ran.code == 1, ran
    assert "UnsafeKubeconfig" in str(stage.rows("SELECT reason FROM statuses"))
    assert not pwned.exists()
