"""The life of a project on any API server, by the real command line: made, looked at, put right, changed, deleted."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from place import Place
from test_conformance_gitops import kube as kube  # the fixture that lets the server know Flux' types

from reconciler.transports.kube import KubeTransport

sys.path.insert(0, str(Path(__file__).parent.parent / "plugins"))

from git_lab import Repository

SOURCES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/gitrepositories"
KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{}/kustomizations"
TOKEN = {"RECONCILER_SECRET_SHOP": "t0ken"}


def document(kind: str, name: str, spec: dict[str, Any], **lifecycle: str) -> dict[str, Any]:
    head = {"apiVersion": "reconciler.dev/v1", "kind": kind, "metadata": {"name": name}}
    return {**head, "lifecycle": lifecycle, "spec": spec}


@pytest.mark.usefixtures("kube")
def test_the_life_of_a_project(kubeconfig: Path, place: Place) -> None:
    name = f"conformance-{uuid.uuid4().hex[:8]}"
    repository = Repository(place.root / "shop.git")
    repository.commit({f"k8s/overlays/{slug}/kustomization.yaml": "resources: []" for slug in ("staging", "testing")})
    given = {"provider": "generic", "url": repository.url, "auth": {"token": {"fromEnv": "RECONCILER_SECRET_SHOP"}}}
    spec: dict[str, Any] = {
        "cluster": "any",
        "repository": given,
        "environments": [{"type": "staging", "suspend": True}, {"type": "testing", "suspend": True}],
        "flux": {"url": "https://git.example.invalid/acme/shop.git"},
    }
    cluster = document("Cluster", "any", {"provider": "existing", "kubeconfig": {"path": str(kubeconfig)}})

    def apply(**lifecycle: str) -> None:
        place.write("all.yaml", cluster, document("Project", name, spec, **lifecycle))
        place.run("apply", place.specs, "--yes", env=TOKEN)
        assert place.run("plan", place.specs, "-o", "json", env=TOKEN).json["changes"] == []

    apply()
    namespace = f"project-{place.rows('SELECT id FROM projects')[0]['id']}"
    with KubeTransport(kubeconfig) as api:
        (source,) = api.list(SOURCES.format(namespace))
        assert source["spec"]["secretRef"]["name"].endswith("-repo-auth")
        first, second = api.list(KUSTOMIZATIONS.format(namespace))
        assert api.delete(f"{KUSTOMIZATIONS.format(namespace)}/{first['metadata']['name']}")
        astray = {key: second["metadata"][key] for key in ("name", "namespace", "labels")}
        api.apply({**second, "metadata": astray, "spec": {**second["spec"], "path": "./astray"}}, force=True)
        apply()
        paths = {one["spec"]["path"] for one in api.list(KUSTOMIZATIONS.format(namespace))}
        assert paths == {"./k8s/overlays/staging", "./k8s/overlays/testing"}
        spec["environments"] = [{"type": "testing", "suspend": True}]
        apply()
        assert len(api.list(KUSTOMIZATIONS.format(namespace))) == 1
        apply(state="absent")
        live = api.get(f"/api/v1/namespaces/{namespace}")
        assert live is None
    assert place.rows("SELECT * FROM projects") == []
