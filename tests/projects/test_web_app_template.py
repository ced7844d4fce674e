"""The template web-app: every overlay builds, the API takes what comes out, and the known defects are not there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.errors import SpecError
from reconciler.kinds.project.templates import Facts, Overlay, built_in_names, render, variables_of
from reconciler.transports.kube import KubeTransport

LONGEST = "a" + "0" * 62
TYPES = ("development", "staging", "production")
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

Documents = list[dict[str, Any]]


def environments(*slugs: str, **fields: Any) -> list[Overlay]:
    """Environments in one namespace of one cluster; by default the usual three."""
    return [
        Overlay(slug, slug if slug in TYPES else "testing", f"./k8s/overlays/{slug}", namespace="shop", **fields)
        for slug in slugs or TYPES
    ]


def rendered(slug: str = "shop", overlays: Sequence[Overlay] = (), **variables: Any) -> dict[str, bytes]:
    """The files of a repository."""
    facts = Facts(slug, repository="https://git.example/Acme/Shop.git")
    return render("web-app", variables, overlays or environments(), facts)


def objects(files: Mapping[str, bytes], folder: Path, overlay: str) -> Documents:
    """What kustomize makes of an overlay."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    built = subprocess.run(
        ["kubectl", "kustomize", folder / "k8s" / "overlays" / overlay], capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")
    return list(yaml.safe_load_all(built.stdout))


def of_kind(documents: Documents, kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = [one for one in documents if one["kind"] == kind]
    return found


@needs_kubectl
@pytest.mark.parametrize("slug", ["shop", "1e5", LONGEST])
def test_every_overlay_builds_and_the_api_takes_it(slug: str, tmp_path: Path, api: KubeTransport) -> None:
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, force=True)
    slugs = (*TYPES, "1", "no", "e" * 54)
    files = rendered(slug, environments(*slugs), tls=True, imagePullSecret="pull", clusterIssuer="ours")
    made = [(overlay, objects(files, tmp_path, overlay)) for overlay in slugs]
    for overlay, documents in made:
        for document in documents:
            live = api.apply(document, force=True)
            assert live["metadata"]["labels"]["environment"] == overlay
        service = of_kind(documents, "Service")["spec"]["selector"]
        mine = of_kind(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert service.items() <= mine.items()
        others = [of_kind(rest, "Deployment") for other, rest in made if other != overlay]
        labels = [other["spec"]["template"]["metadata"]["labels"] for other in others]
        assert not any(service.items() <= other.items() for other in labels), "a Service leads to another's pods"
    names = [(one["kind"], one["metadata"]["name"]) for _, documents in made for one in documents]
    assert len(set(names)) == len(names)
    assert max(len(name) for _, name in names) <= 63


@needs_kubectl
def test_case_j9_environments_have_hosts_and_certificates_of_their_own(tmp_path: Path) -> None:
    files = rendered(tls=True, domain="example.com")
    ingresses = [of_kind(objects(files, tmp_path, one), "Ingress")["spec"] for one in TYPES]
    hosts = [one["rules"][0]["host"] for one in ingresses]
    assert hosts == ["shop.development.example.com", "shop.staging.example.com", "shop.production.example.com"]
    assert [one["tls"][0]["hosts"] for one in ingresses] == [[host] for host in hosts]
    assert len({one["tls"][0]["secretName"] for one in ingresses}) == 3
    assert [one["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] for one in ingresses] == [
        "dev-shop",
        "staging-shop",
        "prod-shop",
    ]


def test_case_j9_a_host_that_two_environments_would_share_is_refused() -> None:
    clash = [Overlay(one, one, f"k8s/overlays/{one}", cluster="a", host="shop.example.com") for one in TYPES[:2]]
    with pytest.raises(SpecError, match=r"more than one environment has the host shop\.example\.com"):
        rendered(overlays=clash)
    apart = [Overlay(one.slug, one.type, one.path, cluster=one.slug, host=one.host) for one in clash]
    assert rendered(overlays=apart)


@needs_kubectl
def test_case_j10_replicas_are_written_only_where_nothing_scales(tmp_path: Path) -> None:
    overlays = [*environments(), *environments("other", replicas=0)]
    files = rendered(overlays=overlays)
    found = {one.slug: objects(files, tmp_path, one.slug) for one in overlays}
    replicas = {name: of_kind(documents, "Deployment")["spec"].get("replicas") for name, documents in found.items()}
    assert replicas == {"development": 1, "staging": 1, "production": None, "other": 0}
    scaled = [name for name, documents in found.items() if any("Autoscaler" in one["kind"] for one in documents)]
    assert scaled == ["production"]
    scaler = of_kind(found["production"], "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == of_kind(found["production"], "Deployment")["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    fixed = [Overlay("production", "production", "k8s/overlays/production", replicas=3)]
    kept = objects(rendered(overlays=fixed), tmp_path / "fixed", "production")
    assert of_kind(kept, "Deployment")["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler" not in {one["kind"] for one in kept}


@needs_kubectl
def test_the_deployment_says_what_the_table_says(tmp_path: Path) -> None:
    files = rendered()
    production = of_kind(objects(files, tmp_path, "production"), "Deployment")["spec"]["template"]["spec"]
    (container,) = production["containers"]
    assert container["image"] == "acme/shop:latest"
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "500m", "memory": "256Mi"},
    }
    assert container["env"] == [{"name": "PORT", "value": "3000"}]
    assert container["livenessProbe"]["httpGet"]["path"] == "/api/health"
    assert container["readinessProbe"]["periodSeconds"] == 5
    assert "imagePullSecrets" not in production
    asked = objects(
        rendered(imagePullSecret="pull", registry="registry.example:5000", tag="1e5"), tmp_path / "asked", "staging"
    )
    pod = of_kind(asked, "Deployment")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["containers"][0]["image"] == "registry.example:5000/acme/shop:1e5"
    ingress = of_kind(objects(files, tmp_path, "staging"), "Ingress")
    assert "tls" not in ingress["spec"]
    assert "annotations" not in ingress["metadata"]


def test_the_same_input_gives_the_same_bytes_in_order() -> None:
    first, second = rendered(), rendered()
    assert list(first.items()) == list(second.items())
    assert list(first) == sorted(first)
    assert not any(b"commonLabels" in content for content in first.values())
    assert {path.split("/overlays/")[1].split("/")[0] for path in first if "/overlays/" in path} == set(TYPES)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"port": "3000"}, "port: '3000' is not of type 'integer'"),
        ({"port": 70000}, "port: 70000 is greater than the maximum"),
        ({"image": "x; rm -rf /"}, "image: "),
        ({"domain": "a..b"}, "domain: "),
        ({"tag": "{{ 7 * 7 }}"}, "tag: "),
    ],
)
def test_a_variable_that_it_does_not_take_is_named(variables: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match="template web-app: ") as caught:
        rendered(**variables)
    assert message in caught.value.message


def test_every_built_in_template_describes_its_variables() -> None:
    assert built_in_names() == ["web-app"]
    properties = variables_of("web-app")["properties"]
    assert [name for name, one in properties.items() if not one.get("description") or "default" not in one] == []
    with pytest.raises(SpecError, match='no template "shop"; there is web-app'):
        render("shop", {}, environments(), Facts("shop"))


def test_environments_in_each_others_folders_are_refused() -> None:
    same = [Overlay("a", "testing", "./k8s/x"), Overlay("b", "testing", "k8s/x/")]
    inner = [Overlay("a", "testing", "k8s/x"), Overlay("b", "testing", "k8s/x/y")]
    beside = [Overlay("a", "testing", "k8s/x"), Overlay("b", "testing", "k8s/x-y")]
    for overlays in (same, inner):
        with pytest.raises(SpecError, match="environments a and b have paths in each other"):
            rendered(overlays=overlays)
    assert rendered(overlays=beside)
