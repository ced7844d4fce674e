"""The pure parts of a registration: under which URL, checked by what, and what of a live Secret differs."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import pytest

from reconciler.errors import TerminalError
from reconciler.kinds.cluster.argocd.place import Place
from reconciler.kinds.cluster.argocd.registration import Registration, reachable_server, registration_of
from reconciler.kinds.cluster.attachments import schema_of
from reconciler.kinds.cluster.attachments.argocd import ATTACHMENT
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.secret import Secret
from reconciler.transports.kubeconfig import Trust

AT = Place("devops", "argocd")
PEM = "-----BEGIN CERTIFICATE-----\n"
TOKEN = "t0k3n-of-the-account"


def registration(asked: dict[str, Any] | None = None, provider: str = "k3d", **known: Any) -> Registration:
    trust = Trust(known.get("name", "localhost"), known.get("authority", PEM), known.get("insecure", False))
    server = known.get("server", "https://127.0.0.1:40001")
    return registration_of(ClusterSpec("dev", provider), asked or {}, AT, (server, trust), Secret(TOKEN, "here"))


def config(found: Registration) -> dict[str, Any]:
    return dict(json.loads(found.config.reveal()))


SERVERS = {
    ("k3d", "https://127.0.0.1:40001"): "https://host.k3d.internal:40001",
    ("k3d", "https://0.0.0.0:40001"): "https://host.k3d.internal:40001",
    ("kind", "https://localhost:40001"): "https://host.k3d.internal:40001",
    ("kind", "https://192.0.2.1:6443"): "https://192.0.2.1:6443",
    ("sandbox", "https://127.0.0.1:40001"): "https://127.0.0.1:40001",
    ("existing", "https://api.example.com:6443/k8s/clusters/c-1"): "https://api.example.com:6443/k8s/clusters/c-1",
}


@pytest.mark.parametrize(("known", "expected"), SERVERS.items())
def test_the_url_is_one_that_the_other_clusters_pods_reach(known: tuple[str, str], expected: str) -> None:
    assert reachable_server(*known) == expected


def test_the_certificate_is_checked_by_the_authority_under_the_name_that_it_shows() -> None:
    ca = base64.b64encode(PEM.encode()).decode()
    found = registration()
    assert found.server == "https://host.k3d.internal:40001"
    assert config(found) == {"bearerToken": TOKEN, "tlsClientConfig": {"caData": ca, "serverName": "localhost"}}
    own = registration(provider="existing", server="https://api.example.com:6443", name="api.example.com")
    assert config(own)["tlsClientConfig"] == {"caData": ca}
    public = registration({"server": "https://proxy.example.com"}, authority="", name="proxy.example.com")
    assert config(public)["tlsClientConfig"] == {}


def test_insecure_is_never_beside_an_authority_and_never_without_being_asked_for() -> None:
    assert config(registration({"insecure": True}))["tlsClientConfig"] == {"insecure": True}
    with pytest.raises(TerminalError, match=r"set argocd\.insecure if that is meant"):
        registration(authority="", insecure=True)


def live_of(found: Registration, **data: str) -> dict[str, Any]:
    manifest = found.manifest(None)
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    return {**manifest, "data": {**manifest["data"], **encoded}}


def test_what_is_different_is_said_without_a_secret() -> None:
    found = registration({"labels": {"tier": "gold"}, "annotations": {"owner": "us"}})
    assert found.faults(live_of(found)) == []
    assert found.faults(None) == ["it is missing"]
    other = json.dumps({"bearerToken": "old", "tlsClientConfig": {"insecure": True}})
    assert found.faults(live_of(found, config=other)) == ["its token differs", "its TLS settings differ"]
    assert found.faults(live_of(found, config="}{", server="https://elsewhere", name="x")) == [
        "its name differs",
        "its server is not https://host.k3d.internal:40001",
        "its token differs",
        "its TLS settings differ",
    ]
    bare = live_of(found)
    bare["metadata"] = {"labels": {**bare["metadata"]["labels"], "tier": "iron"}}
    assert [one for one in found.faults(bare) if "tier" in one or "owner" in one] == [
        "label tier differs",
        "annotation owner differs",
    ]
    assert TOKEN not in repr(found)


def test_what_somebody_filled_into_annotations_of_others_stays() -> None:
    found = registration()
    live = live_of(found)
    live["metadata"]["annotations"] = {"portainer-edge-id": "7", "portainer-edge-key": "k"}
    assert found.faults(live) == []
    assert found.manifest(live)["metadata"]["annotations"] == {"portainer-edge-id": "7", "portainer-edge-key": "k"}


@pytest.mark.parametrize(
    ("spec", "is_wanted"),
    [
        ({}, False),
        ({"argocd": {}}, True),
        ({"argocd": {}, "role": "management"}, False),
        ({"argocd": {"management": True}, "role": "management"}, True),
    ],
)
def test_a_management_cluster_is_registered_only_where_it_says_so(spec: dict[str, Any], is_wanted: bool) -> None:
    source = Source("file:/srv/specs/a.yaml", 1, 1)
    resource = Resource(ResourceRef("Cluster", "dev"), spec, {}, Lifecycle(), source, 1)
    assert (ATTACHMENT.wanted(resource) is not None) is is_wanted


@pytest.mark.parametrize(
    "field",
    [
        {"server": "http://plain.example.com"},
        {"server": "https://user:password@api.example.com"},
        {"server": "https://{{.env}}:6443"},
        {"labels": {"type": "management"}},
        {"labels": {"argocd.argoproj.io/secret-type": "repository"}},
        {"labels": {"reconciler.dev/name": "other"}},
        {"token": "x"},
    ],
)
def test_the_schema_refuses(field: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(field, schema_of("argocd"))
