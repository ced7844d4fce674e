"""The kind's pure parts: the document, the objects made of it, the steps of changes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.kinds.project import KIND
from reconciler.kinds.project.changing import STEPS
from reconciler.kinds.project.looking import _in_words
from reconciler.kinds.project.objects import filled, objects_of, places
from reconciler.kinds.project.plan_steps import DELETE_GITOPS, DELETE_NAMESPACES, DELETE_RECORDS, INITIALIZATION, WAIT
from reconciler.kinds.project.spec import MAX_NAME, ProjectSpec
from reconciler.model.digest import stored_form
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.secret import Secret

ID = "12345678-0000-4000-8000-000000000000"
URL = "https://git.example.com/acme/shop.git"
TOKEN = Secret("t0ken", "env:TOKEN")


def resource(**spec: Any) -> Resource:
    repository = {"provider": "generic", "url": URL, **spec.pop("repository", {})}
    return Resource(ResourceRef("Project", "shop"), {"cluster": "dev", "repository": repository, **spec})


def project(**spec: Any) -> ProjectSpec:
    return ProjectSpec.of(resource(**spec))


def kustomizations(spec: ProjectSpec, cluster: str = "dev") -> dict[str, Any]:
    return {slug: one["spec"] for slug, one in objects_of(spec)[cluster]["kustomizations"].items()}


@pytest.mark.parametrize("provider", ["github", "gitlab", "generic", "bitbucket"])
def test_row_1_16_the_providers_are_defined_once_by_the_schema(provider: str) -> None:
    spec = {"cluster": "dev", "repository": {"provider": provider, "url": URL}}
    faults = list(jsonschema.Draft202012Validator(KIND.schema).iter_errors(spec))
    assert bool(faults) == (provider == "bitbucket")


def test_row_1_19_the_objects_need_neither_records_nor_a_cluster() -> None:
    found = [place for cluster, wanted in objects_of(project()).items() for place, _ in places(cluster, wanted)]
    assert [place.kind for place in found] == ["Namespace", "GitRepository", *["Kustomization"] * 3]


@pytest.mark.parametrize(
    "url", ["ext::sh -c id", "https://u:secret@host/x.git", "-oProxyCommand=x", "file://relative", "http://host/a b"]
)
def test_addresses_that_run_something_or_hold_a_password_are_refused(url: str) -> None:
    spec = {"cluster": "dev", "repository": {"provider": "generic", "url": url}}
    assert not jsonschema.Draft202012Validator(KIND.schema).is_valid(spec)


@pytest.mark.parametrize("path", ["../secrets", "/etc", "k8s/../../x", ".git/hooks", "a//b"])
def test_paths_that_lead_out_of_the_repository_are_refused(path: str) -> None:
    spec = {**resource().spec, "environments": [{"type": "testing", "path": path}]}
    assert not jsonschema.Draft202012Validator(KIND.schema).is_valid(spec)


def test_the_weights_of_an_initialization_and_of_a_deletion_sum_to_100() -> None:
    assert [step.name for step in INITIALIZATION] == list(STEPS)
    assert sum(step.weight for step in (*INITIALIZATION, WAIT)) == 100
    assert sum(step.weight for step in (DELETE_GITOPS, DELETE_NAMESPACES, DELETE_RECORDS)) == 100


def test_row_3_11_the_wait_is_120_seconds_unless_the_document_says_otherwise() -> None:
    assert project().wait_timeout == 120.0
    assert project(wait={"ready": True, "timeout": "2s"}).wait_timeout == 2.0


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"environments": [{"type": "staging"}, {"type": "staging", "name": "Other"}]}, "DuplicateEnvironment"),
        ({"environments": [{"type": "staging"}, {"type": "testing", "name": "Staging"}]}, "DuplicateEnvironment"),
        ({"environments": [{"type": "staging", "replicas": 2}]}, "NoTemplate"),
        ({"repository": {"create": True}}, "CannotCreate"),
        ({"repository": {"url": "git@host:a.git", "auth": {"token": TOKEN}}}, "NoSshKey"),
        ({"namespace": "team-${other_id}"}, "UnknownValue"),
        ({"namespace": "x" * 60 + "-${project_id}"}, "BadName"),
        ({"namespace": "-x"}, "BadName"),
        ({"environments": [{"type": "staging", "slug": "s" * 55}]}, "BadName"),
        (
            {
                "template": {"name": "web-app"},
                "environments": [{"type": "staging", "host": "a.b"}, {"type": "testing", "host": "a.b"}],
            },
            "SameHost",
        ),
        (
            {
                "environments": [
                    {"type": "staging", "path": "k8s/x", "namespace": "one"},
                    {"type": "testing", "path": "./k8s/x/", "namespace": "one"},
                ]
            },
            "SamePlace",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError) as raised:
        project(**spec)
    assert raised.value.reason == reason


def test_a_name_of_exactly_63_characters_is_taken_and_one_more_is_not() -> None:
    slug = "s" * (MAX_NAME - len("12345678-"))
    (name,) = (one["metadata"]["name"] for one in objects_of(filled_spec(slug))["dev"]["kustomizations"].values())
    assert len(filled(name, ID)) == MAX_NAME
    with pytest.raises(SpecError, match="64 characters"):
        filled_spec(slug + "s")


def filled_spec(slug: str) -> ProjectSpec:
    return project(environments=[{"type": "testing", "slug": slug}])


def test_names_of_digits_stay_strings() -> None:
    """Defect J15: an id such as 12345678 or 12345e67 must not become a number where YAML is read."""
    import yaml

    for project_id in (ID, "12345e67-0000-4000-8000-000000000000"):
        made = filled(stored_form(objects_of(project()), b""), project_id)
        read = yaml.safe_load(yaml.safe_dump(made))
        assert read == json.loads(json.dumps(made))
        assert isinstance(read["dev"]["source"]["metadata"]["labels"]["reconciler.dev/project-id"], str)


def test_the_address_of_a_named_repository_is_that_of_its_provider() -> None:
    def url(**repository: Any) -> str:
        named = {"name": "acme/shop", **repository}
        return ProjectSpec.of(
            Resource(ResourceRef("Project", "shop"), {"cluster": "dev", "repository": named})
        ).repository.url

    assert url(provider="github") == "https://github.com/acme/shop.git"
    assert url(provider="github", apiUrl="https://git.corp/api/v3") == "https://git.corp/acme/shop.git"
    assert url(provider="gitlab") == "https://gitlab.com/acme/shop.git"
    assert url(provider="gitlab", apiUrl="https://git.corp/lab/api/v4/") == "https://git.corp/lab/acme/shop.git"
    with pytest.raises(SpecError, match="needed"):
        url(provider="generic")


def test_flux_gets_an_address_that_it_takes() -> None:
    auth = {"sshKey": Secret("key", "env:KEY"), "knownHosts": "host ssh-ed25519 AAAA"}
    spec = project(repository={"url": "git@host:acme/shop.git", "auth": auth})
    wanted = objects_of(spec)["dev"]
    assert wanted["source"]["spec"]["url"] == "ssh://git@host/acme/shop.git"
    assert (wanted["secret"]["type"], sorted(wanted["secret"]["data"])) == ("Opaque", ["identity", "known_hosts"])
    inside = project(flux={"url": "http://gitea.git:3000/acme/shop.git"})
    assert objects_of(inside)["dev"]["source"]["spec"]["url"] == "http://gitea.git:3000/acme/shop.git"
    assert inside.repository.url == URL


def test_each_environment_waits_for_the_one_before_it_in_the_same_cluster_where_that_is_asked_for() -> None:
    environments = [{"type": "development"}, {"type": "testing", "cluster": "prod"}, {"type": "staging"}]
    found = kustomizations(project(environments=environments, flux={"dependsOn": True}))
    assert "dependsOn" not in found["development"]
    assert found["staging"]["dependsOn"] == [{"name": "${id8}-development"}]
    assert all("dependsOn" not in one for one in kustomizations(project(environments=environments)).values())


def test_environments_that_share_a_folder_and_a_cluster_get_a_namespace_each_and_others_do_not() -> None:
    shared = [{"type": "development", "path": "k8s/x"}, {"type": "staging", "path": "./k8s/x"}, {"type": "production"}]
    found = kustomizations(project(environments=shared))
    assert {slug: one.get("targetNamespace") for slug, one in found.items()} == {
        "development": "project-${project_id}-development",
        "staging": "project-${project_id}-staging",
        "production": None,
    }
    apart = [shared[0], {**shared[1], "cluster": "prod"}]
    assert "targetNamespace" not in kustomizations(project(environments=apart))["development"]


def test_what_the_document_asks_of_flux_stands_in_the_objects() -> None:
    check = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    flux = {"timeout": "3m", "retryInterval": "30s", "wait": True, "prune": False, "healthChecks": [check]}
    (one,) = kustomizations(project(environments=[{"type": "staging", "suspend": True}], flux=flux)).values()
    assert one == {
        "interval": "1m",
        "path": "./k8s/overlays/staging",
        "prune": False,
        "sourceRef": {"kind": "GitRepository", "name": "${id8}-repo"},
        "timeout": "3m",
        "retryInterval": "30s",
        "wait": True,
        "suspend": True,
        "healthChecks": [{**check, "namespace": "project-${project_id}"}],
    }


def test_the_desired_state_holds_no_secret_and_nothing_that_changes_by_itself() -> None:
    wanted = resource(repository={"auth": {"token": TOKEN}})
    first, second = (json.dumps(stored_form(KIND.normalize(wanted), b"key")) for _ in range(2))
    assert first == second
    assert "t0ken" not in first
    assert "requestedAt" not in first


_TEXTS = st.sampled_from(["project-${project_id}", "${id8}-repo", "1m", "./k8s", ""])
_STATES = st.recursive(
    _TEXTS | st.booleans() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner) | st.lists(inner, max_size=3),
    max_leaves=12,
)


@given(_STATES)
def test_what_is_as_wanted_is_told_in_the_words_of_the_plan(template: Any) -> None:
    real = filled(template, ID)
    assert _in_words(real, real, template) == template


@given(_STATES, _STATES)
def test_what_is_not_as_wanted_is_told_as_it_is(template: Any, seen: Any) -> None:
    """Whatever is seen: what is told is as wanted just where it was."""
    seen = filled(seen, ID)
    told = _in_words(seen, filled(template, ID), template)
    assert filled(told, ID) == seen
