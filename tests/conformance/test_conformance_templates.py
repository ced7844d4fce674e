"""What comes out of the template web-app is taken by any API server, with names as long as they may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance_tools import Kubectl

from reconciler.kinds.project.templates import Facts, Overlay, render

SLUGS = ("development", "staging", "production", "1e5", "e" * 54)


@pytest.mark.parametrize("slug", ["yes", "7" * 63])
def test_every_overlay_is_taken(kubectl: Kubectl, tmp_path: Path, slug: str) -> None:
    overlays = [Overlay(one, "production", f"k8s/overlays/{one}", namespace=kubectl.namespace) for one in SLUGS]
    variables = {"tls": True, "imagePullSecret": "pull", "clusterIssuer": "ours", "scaled": "production"}
    files = render("web-app", variables, overlays, Facts(slug, repository="https://git.example/Acme/Shop.git"))
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    resources = "".join(f"- ../k8s/overlays/{one}\n" for one in SLUGS)
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "kustomization.yaml").write_text(f"resources:\n{resources}")
    said = kubectl.ok("apply", "--server-side", "--dry-run=server", "-k", str(tmp_path / "all"))
    assert said.count("serverside-applied (server dry run)") == 4 * len(SLUGS)
