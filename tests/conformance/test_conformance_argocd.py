"""Application sets and registrations with Argo CD against any API server, through the command line."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gitops_crds import ARGO, trimmed
from place import Place
from test_conformance_accounts import eventually

from reconciler.transports.kube import KubeTransport

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/applicationsets.argoproj.io"
SETS = "/apis/argoproj.io/v1alpha1/namespaces/{}/applicationsets/conformance"
MANAGEMENT = {"role": "management"}


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[KubeTransport]:
    """The server, knowing ApplicationSets: by its own definition, or by ours for as long as the test."""
    with KubeTransport(kubeconfig) as found:
        is_ours = found.get(CRD) is None
        if is_ours:
            found.apply(next(one for one in trimmed(*ARGO) if one["spec"]["names"]["kind"] == "ApplicationSet"))
            eventually(lambda: "Established" in conditions(found.get(CRD) or {}))
            eventually(lambda: found.get("/apis/argoproj.io/v1alpha1"))
        yield found
        if is_ours:
            found.delete(CRD)


def conditions(live: dict[str, Any]) -> list[str]:
    found = (live.get("status") or {}).get("conditions") or ()
    return [one["type"] for one in found if one["status"] == "True"]


def document(kind: str, name: str, spec: dict[str, Any], state: str = "present") -> dict[str, Any]:
    envelope = {"apiVersion": "reconciler.dev/v1", "kind": kind, "metadata": {"name": name}}
    return {**envelope, "lifecycle": {"state": state}, "spec": spec}


def existing(name: str, kubeconfig: Path, state: str = "present", **spec: Any) -> dict[str, Any]:
    """The server as a cluster that somebody else made."""
    reach = {"provider": "existing", "kubeconfig": {"path": str(kubeconfig)}}
    return document("Cluster", name, {**reach, **spec}, state)


def test_a_set_is_applied_put_right_and_deleted(
    place: Place, kubeconfig: Path, api: KubeTransport, namespace: str
) -> None:
    at = SETS.format(namespace)
    spec = {"repoURL": "https://git.example.com/a.git", "cluster": "devops", "namespace": namespace}
    clusters = [existing("devops", kubeconfig, **MANAGEMENT), existing("dev", kubeconfig)]
    place.write("all.yaml", *clusters, document("ApplicationSet", "conformance", spec))
    place.apply()
    live = api.get(at)
    assert live is not None
    assert [one["clusterName"] for one in live["spec"]["generators"][0]["list"]["elements"]] == ["dev"]
    assert place.plan() == {}
    live["spec"]["generators"] = [{"list": {"elements": []}}]
    live["metadata"].pop("resourceVersion")
    api.apply(live, force=True)
    (diff,) = place.plan()["ApplicationSet/conformance"]["diffs"]
    assert (diff["path"], diff["before"]) == ("spec.elements", {"toAdd": ["dev"]})
    place.write("all.yaml", *clusters, document("ApplicationSet", "conformance", {**spec, "path": "x"}))
    place.apply()
    assert place.plan() == {}
    place.write("all.yaml", *clusters, document("ApplicationSet", "conformance", spec, "absent"))
    place.apply()
    assert api.get(at) is None


def test_a_registration_is_made_and_removed(place: Place, kubeconfig: Path, api: KubeTransport, namespace: str) -> None:
    """Skips where no controller fills in the tokens of service accounts (a bare API server)."""
    registered = {"argocd": {"cluster": "devops", "namespace": namespace}}
    management = existing("devops", kubeconfig, **MANAGEMENT)
    place.write("devops.yaml", management)
    place.apply()
    place.write("dev.yaml", existing("dev", kubeconfig, **registered))
    ran = place.apply(code=None)
    if "NoToken" in ran.out + ran.err or "filled in the token" in ran.out + ran.err:
        pytest.skip("no controller fills in the tokens of service accounts")
    assert ran.code == 0, ran.err
    secret = api.get(f"/api/v1/namespaces/{namespace}/secrets/cluster-dev")
    assert secret is not None
    config = json.loads(base64.b64decode(secret["data"]["config"]))
    assert config["bearerToken"]
    assert ("caData" in config["tlsClientConfig"]) is not config["tlsClientConfig"].get("insecure", False)
    assert place.plan() == {}
    place.write("dev.yaml", existing("dev", kubeconfig, "absent", **registered))
    place.apply()
    assert api.get(f"/api/v1/namespaces/{namespace}/secrets/cluster-dev") is None
    assert api.get("/api/v1/namespaces/kube-system/serviceaccounts/argocd-manager") is None
