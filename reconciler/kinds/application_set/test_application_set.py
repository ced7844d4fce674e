"""The pure parts of application sets: which clusters, which elements, what Argo CD is given, what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import BlockedError, SpecError
from reconciler.kind import KnownCluster
from reconciler.kinds.application_set import KIND
from reconciler.kinds.application_set.elements import difference, elements_of
from reconciler.kinds.application_set.manifest import elements_in, manifest_of, with_elements
from reconciler.kinds.application_set.place import Place, wanted_place
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source

REPO = "https://git.example.com/team/whoami.git"
DEV = {"env": "dev", "hostEnv": "dev", "branch": "dev", "clusterName": "dev", "ingressClass": "traefik"}


def resource(spec: dict[str, Any] | None = None, name: str = "whoami") -> Resource:
    source = Source("file:/srv/specs/a.yaml", 1, 1)
    return Resource(ResourceRef("ApplicationSet", name), {"repoURL": REPO, **(spec or {})}, {}, Lifecycle(), source, 1)


def spec_of(**spec: Any) -> SetSpec:
    return SetSpec.of(resource(spec))


def cluster(name: str, **known: Any) -> KnownCluster:
    return KnownCluster(name, Path("/k"), **{"role": "business", "provider": "k3d", "was_verified": True, **known})


CLUSTERS = {
    one.name: one
    for one in (
        cluster("uat", labels={"tier": "gold"}, environment="test"),
        cluster("devops", role="management"),
        cluster("dev", labels={"tier": "iron", "role": "management"}, provider="kind"),
        cluster("going", is_wanted=False),
        cluster("failed", was_verified=False),
        cluster("lost", state="failed"),
    )
}


def names(**spec: Any) -> list[str]:
    return [one["env"] for one in elements_of(spec_of(**spec), CLUSTERS)]


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {
        "selector": {
            "matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]
        }
    }


SELECTED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "all business clusters that worked once, sorted": ({}, ["dev", "lost", "uat"]),
    "by label": ({"selector": {"matchLabels": {"tier": "gold"}}}, ["uat"]),
    "by provider": ({"selector": {"matchLabels": {"provider": "kind"}}}, ["dev"]),
    "by environment": ({"selector": {"matchLabels": {"environment": "test"}}}, ["uat"]),
    "by role": ({"selector": {"matchLabels": {"role": "management"}}}, ["devops"]),
    "by name": (expression("name", "In", "uat", "devops"), ["uat"]),
    "NotIn without the label": (expression("tier", "NotIn", "gold"), ["dev", "lost"]),
    "Exists": (expression("tier", "Exists"), ["dev", "uat"]),
    "DoesNotExist": (expression("environment", "DoesNotExist"), ["dev", "lost"]),
    "both": ({"selector": {"matchLabels": {"tier": "gold"}, **expression("name", "In", "dev")["selector"]}}, []),
}


@pytest.mark.parametrize("case", SELECTED.values(), ids=SELECTED.keys())
def test_the_clusters_that_a_selector_means(case: tuple[dict[str, Any], list[str]]) -> None:
    spec, expected = case
    jsonschema.validate({"repoURL": REPO, **spec}, KIND.schema)
    assert names(**spec) == expected


def test_an_element_has_the_predecessors_fields_and_the_specs_own() -> None:
    assert elements_of(spec_of(), {"dev": cluster("dev")}) == [DEV]
    more = spec_of(values={"tier": "gold", "ingressClass": "nginx"}, valuesByCluster={"dev": {"hostEnv": "d"}})
    assert elements_of(more, {"dev": cluster("dev")}) == [
        {**DEV, "tier": "gold", "ingressClass": "nginx", "hostEnv": "d"}
    ]


DIFFERENCES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "the same": ([DEV, {**DEV, "clusterName": "uat"}], {}),
    "in another order": ([{**DEV, "clusterName": "uat"}, DEV], {}),
    "one is missing": ([DEV], {"toAdd": ["uat"]}),
    "one is too many": ([DEV, {**DEV, "clusterName": "uat"}, {"clusterName": "old"}], {"toRemove": ["old"]}),
    "one is there twice": ([DEV, DEV, {**DEV, "clusterName": "uat"}], {"toRemove": ["dev"]}),
    "one is different": (
        [{**DEV, "x": 1, "branch": "main"}, {**DEV, "clusterName": "uat"}],
        {"toChange": {"dev": ["branch", "x"]}},
    ),
    "something else": (["dev", None], {"toAdd": ["dev", "uat"], "toRemove": ["#1", "#2"]}),
}


@pytest.mark.parametrize("case", DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_what_has_to_happen_to_the_live_elements(case: tuple[list[Any], dict[str, Any]]) -> None:
    live, expected = case
    assert difference([DEV, {**DEV, "clusterName": "uat"}], live) == expected


@given(st.lists(st.sampled_from(["a", "b", "c", "d"])), st.sets(st.sampled_from(["a", "b", "c", "d"])))
def test_there_is_no_difference_exactly_when_the_elements_are_the_wanted_ones(
    there: list[str], wanted: set[str]
) -> None:
    live = [{**DEV, "clusterName": name} for name in there]
    found = difference([{**DEV, "clusterName": name} for name in sorted(wanted)], live)
    assert (found == {}) is (sorted(there) == sorted(wanted))


def test_the_object_is_the_predecessors() -> None:
    parameters = [{"name": "image.tag", "value": "v1.10.2"}, {"name": "image.pullPolicy", "value": "IfNotPresent"}]
    spec = spec_of(baseDomain="192.0.2.1.sslip.io", helm={"parameters": parameters})
    found = with_elements(manifest_of(spec), [DEV])
    expected = """
    goTemplate: true
    goTemplateOptions: ["missingkey=error"]
    generators:
    - list:
        elements:
        - {env: dev, hostEnv: dev, branch: dev, clusterName: dev, ingressClass: traefik}
    template:
      metadata: {name: 'whoami-{{.env}}', labels: {app: whoami, env: '{{.env}}'}}
      spec:
        project: default
        source:
          repoURL: https://git.example.com/team/whoami.git
          path: deploy
          targetRevision: '{{.branch}}'
          helm:
            releaseName: whoami
            parameters:
            - {name: ingress.host, value: 'whoami.{{.hostEnv}}.192.0.2.1.sslip.io'}
            - {name: ingress.className, value: '{{.ingressClass}}'}
            - {name: image.tag, value: 'v1.10.2'}
            - {name: image.pullPolicy, value: 'IfNotPresent'}
        destination: {name: '{{.clusterName}}', namespace: whoami}
        syncPolicy:
          automated: {prune: true, selfHeal: true}
          syncOptions: [CreateNamespace=true]
    """
    assert found["spec"] == yaml.safe_load(expected)
    assert found["metadata"]["name"] == "whoami"


def test_without_any_cluster_the_list_is_empty_and_still_there() -> None:
    assert with_elements(manifest_of(spec_of()), [])["spec"]["generators"] == [{"list": {"elements": []}}]


def test_other_generators_are_none_of_ours() -> None:
    made = with_elements(manifest_of(spec_of()), [DEV])
    assert elements_in(made) == [DEV]
    listing: dict[str, Any] = {"list": {"elements": []}}
    others: list[Any] = [[], [{"clusters": {}}], [listing, listing], [{**listing, "selector": {}}]]
    others.append([{"list": {"elements": [], "elementsYaml": ""}}])
    for generators in others:
        assert elements_in({"spec": {"generators": generators}}) is None


def test_a_parameter_of_the_spec_wins_and_fields_of_elements_become_templates() -> None:
    parameters = [
        {"name": "ingress.host", "value": "${tier}.example.com"},
        {"name": "x", "value": "{{ .env | upper }}"},
    ]
    spec = spec_of(
        baseDomain="example.com", helm={"parameters": parameters}, values={"tier": "t"}, revision="v-${branch}"
    )
    source = manifest_of(spec)["spec"]["template"]["spec"]["source"]
    assert source["targetRevision"] == "v-{{.branch}}"
    assert [(one["name"], one["value"]) for one in source["helm"]["parameters"]] == [
        ("ingress.host", "{{.tier}}.example.com"),
        ("ingress.className", "{{.ingressClass}}"),
        ("x", "{{ .env | upper }}"),
    ]


@pytest.mark.parametrize("revision", ["${tier}", "{{.tier}}", "{{- .tier }}", "${}"])
def test_a_field_that_not_every_element_has_is_refused(revision: str) -> None:
    with pytest.raises(SpecError, match="elements have only branch, clusterName, env, hostEnv, ingressClass") as caught:
        KIND.normalize(resource({"revision": revision, "valuesByCluster": {"dev": {"tier": "gold"}}}))
    assert caught.value.reason == "UnknownElementField"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, {"name": "{{.clusterName}}", "namespace": "whoami"}),
        ({"name": "in-${env}"}, {"name": "in-{{.env}}", "namespace": "whoami"}),
        ({"server": "https://${clusterName}:6443"}, {"server": "https://{{.clusterName}}:6443", "namespace": "whoami"}),
    ],
)
def test_a_destination_is_a_name_or_a_server(given: dict[str, str], written: dict[str, str]) -> None:
    assert manifest_of(spec_of(destination=given))["spec"]["template"]["spec"]["destination"] == written
    with pytest.raises(SpecError, match=r"spec\.destination\.name uses nothing"):
        KIND.normalize(resource({"destination": {"name": "${nothing}"}}))


def test_a_release_name_has_to_fit() -> None:
    with pytest.raises(SpecError, match=r"spec\.helm\.releaseName is needed"):
        KIND.normalize(resource({"helm": {}}, name="a" * 54))


VALID: list[dict[str, Any]] = [
    {"repoURL": "git@git.example.com:team/app.git", "cluster": "devops", "namespace": "gitops", "force": True},
    {"repoURL": "ssh://git@git.example.com:2222/team/app.git", "path": ".", "preserveResources": True},
    {"values": {"a": "{x", "b": ""}, "project": "${env}", "destination": {"namespace": "ns-${env}"}},
    {"destination": {"name": "in-${env}"}},
    {"destination": {"server": "https://kubernetes.default.svc", "namespace": "all"}},
    {
        "syncPolicy": {"syncOptions": ["CreateNamespace=true"]},
        "helm": {"parameters": [{"name": "a.b[0]", "value": ""}]},
    },
]
INVALID: list[dict[str, Any]] = [
    {"destination": {"name": "in-${env}", "server": "https://kubernetes.default.svc"}},
    {"destination": {"server": "kubernetes"}},
    {"repoURL": "https://user:password@git.example.com/team/app.git"},
    {"repoURL": "ext::sh -c id"},
    {"repoURL": "--upload-pack=id"},
    {"repoURL": "https://git.example.com/{{.env}}.git"},
    {"values": {"a": "{{.env}}"}},
    {"values": {"env": "x"}},
    {"values": {"clusterName": "x"}},
    {"values": {"a b": "x"}},
    {"valuesByCluster": {"dev": {"a": "x{{"}}},
    {"valuesByCluster": {"dev": {"env": "x"}}},
    {"cluster": "{{.env}}"},
    {"baseDomain": "{{.env}}.example.com"},
    {"baseDomain": "-x"},
    {"helm": {"releaseName": "x-{{.env}}"}},
    {"helm": {"parameters": [{"name": "{{.env}}", "value": "x"}]}},
    {"selector": {"matchLabels": {"a": "{{.env}}"}}},
    {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
    {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
    {"selector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}},
    {"syncPolicy": {"syncOptions": ["{{.env}}=true"]}},
    {"revision": "a\nb"},
    {"goTemplate": False},
]


@pytest.mark.parametrize("spec", VALID)
def test_the_schema_takes(spec: dict[str, Any]) -> None:
    jsonschema.validate({"repoURL": REPO, **spec}, KIND.schema)


@pytest.mark.parametrize("spec", INVALID)
def test_the_schema_refuses(spec: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"repoURL": REPO, **spec}, KIND.schema)


def test_it_lives_in_the_one_management_cluster() -> None:
    two = {**CLUSTERS, "ops": cluster("ops", role="management")}
    assert wanted_place(spec_of(), CLUSTERS) == Place("devops", "argocd")
    assert wanted_place(spec_of(cluster="ops", namespace="n"), two) == Place("ops", "n")
    assert wanted_place(spec_of(), {"dev": CLUSTERS["dev"]}) is None
    with pytest.raises(BlockedError, match="devops, ops all have role management: name one"):
        wanted_place(spec_of(), two)


def test_importing_the_kind_imports_nothing_heavy() -> None:
    heavy = ("sqlalchemy", "http.client", "ssl", "kubernetes", "yaml", "subprocess")
    script = f"import sys, reconciler.kinds.application_set; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
