"""What a branch holds and which branches are never touched: the parts that decide, without a repository."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from reconciler.errors import SpecError
from reconciler.kinds.cluster import KIND
from reconciler.kinds.cluster.attaching import weighted
from reconciler.kinds.cluster.branches.content import fill_in
from reconciler.kinds.cluster.branches.guards import RESERVED, archive_tag, why_reserved
from reconciler.kinds.cluster.branches.wanted import WantedBranch
from reconciler.kinds.cluster.plan_steps import RECORD, WAIT_NODES
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.secret import Secret, SpecFile
from tests.branches.branch_lab import CHART, HOST

URL = "https://git.example.com/acme/apps.git"
CONTENT = {"chart": "whoami", "host": HOST}


def resource(name: str = "dev", git: Any = None, **spec: Any) -> Resource:
    git = {"repository": URL, "content": CONTENT} if git is None else git
    return Resource(ResourceRef("Cluster", name), {"git": git, **spec}, source=Source("file:/s/a.yaml", 1, 1))


def branch_of(found: Resource) -> WantedBranch:
    wanted = WantedBranch.of(found)
    assert wanted is not None
    return wanted


def written(git: Any) -> None:
    jsonschema.validate({"git": git}, KIND.schema)


def rendered(template: str, values: Any) -> list[dict[str, Any]]:
    """The chart's template as Helm renders it, for what it uses of Helm."""

    def value(found: re.Match[str]) -> str:
        words = found[1].split()
        path, there = words[0].removeprefix("toYaml").strip() or words[1], {"Values": values, "Release": {"Name": "w"}}
        for part in path.strip(".").split("."):
            there = there[part]
        if "toYaml" in words:
            return "\n".join(" " * int(words[-1]) + line for line in yaml.safe_dump(there).splitlines())
        return json.dumps(there) if "quote" in words else str(there)

    return list(yaml.safe_load_all(re.sub(r"\{\{ (.+?) \}\}", value, template)))


def test_defect_k28_the_chart_takes_its_ingress_class_and_host_from_the_spec_not_from_the_name() -> None:
    files = branch_of(resource("k3d-nginx")).files
    assert set(files) == CHART
    values = yaml.safe_load(files["deploy/values.yaml"])
    assert values["ingress"] == {"className": "traefik", "host": "whoami.k3d-nginx.example.com"}
    other = branch_of(resource(git={"repository": URL, "content": {**CONTENT, "ingressClass": "nginx"}})).files
    assert yaml.safe_load(other["deploy/values.yaml"])["ingress"]["className"] == "nginx"


def test_defect_k29_the_chart_has_no_namespace_and_its_objects_belong_together() -> None:
    files = branch_of(resource()).files
    chart = yaml.safe_load(files["deploy/Chart.yaml"])
    assert (chart["name"], chart["version"]) == ("whoami", "0.1.0")
    values = yaml.safe_load(files["deploy/values.yaml"])
    objects = {one["kind"]: one for one in rendered(files["deploy/templates/deployment.yaml"].decode(), values)}
    assert set(objects) == {"Deployment", "Service", "Ingress"}
    assert all("namespace" not in one["metadata"] for one in objects.values())
    pod = objects["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "traefik/whoami:v1.10.2"
    assert container["resources"]["limits"] == {"cpu": "100m", "memory": "64Mi"}
    assert objects["Service"]["spec"]["selector"] == pod["metadata"]["labels"]
    (rule,) = objects["Ingress"]["spec"]["rules"]
    assert rule["host"] == "whoami.dev.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == objects["Service"]["metadata"]["name"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${cluster}/${branch}", "dev/feature"),
        ("$${cluster} $$", "${cluster} $$"),
        ("${HOME} ${unknown} ${cluster:-x} $cluster", "${HOME} ${unknown} ${cluster:-x} $cluster"),
        ("{{ .Values.a }} ${cluster", "{{ .Values.a }} ${cluster"),
        ("${once}", "${cluster}"),
    ],
)
def test_only_known_variables_are_filled_in_and_only_once(text: str, expected: str) -> None:
    assert fill_in(text, {"cluster": "dev", "branch": "feature", "once": "${cluster}"}) == expected


def test_files_of_the_document_are_rendered_below_the_path() -> None:
    files = {"app/values.yaml": SpecFile("v.yaml", "0" * 64, "env: ${environment}\nclass: ${ingressClass}\n")}
    git = {"repository": URL + "/", "branch": "b", "content": {"path": "apps/shop", "files": files}}
    wanted = branch_of(resource(git=git, environment="test"))
    assert wanted.files == {"apps/shop/app/values.yaml": b"env: test\nclass: traefik\n"}
    assert (wanted.repository, wanted.branch) == (URL, "b")
    stored = {**git, "content": {"files": {"a": {"file": "a", "digest": "0" * 64}}}}
    assert branch_of(resource(git=stored)).files == {}, "their text went with the document"


@pytest.mark.parametrize("host", ["nodots", "-a.example.com", "a..b", "a.${branch}", "x." + "a" * 64 + ".com"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    content = {"chart": "whoami", "host": host}
    with pytest.raises(SpecError, match="not a host name"):
        WantedBranch.of(resource(git={"repository": URL, "branch": "a_b", "content": content}))


@pytest.mark.parametrize("name", ["../a", "a/../../b", ".git/config", "a/.GIT/config", "a"])
def test_a_file_that_leads_elsewhere_is_refused(name: str) -> None:
    content = {"files": {path: SpecFile("a", "0" * 64, "") for path in (name, "a/b")}}
    with pytest.raises(SpecError, match=r"leads out of deploy|a file and the folder of a/b"):
        WantedBranch.of(resource(git={"repository": URL, "content": content}))


@pytest.mark.parametrize("branch", [*RESERVED, "Main", "MASTER", "head", "archive", "archive/dev/20250101-000000"])
def test_reserved_names_are_refused_before_anything_is_done(branch: str) -> None:
    with pytest.raises(SpecError, match=re.escape(branch)) as caught:
        WantedBranch.of(resource(git={"repository": URL, "branch": branch, "content": CONTENT}))
    assert caught.value.reason == "ReservedBranch"


@pytest.mark.parametrize("branch", ["a..b", "a//b", "a/", "a.lock", ".a/b", "a/.b"])
def test_what_git_takes_for_no_branch_is_refused_too(branch: str) -> None:
    with pytest.raises(SpecError, match="name of a branch"):
        WantedBranch.of(resource(git={"repository": URL, "branch": branch, "content": CONTENT}))


def test_settings_reserve_more_names() -> None:
    assert why_reserved("feature/x", ["feature/*"])
    assert not why_reserved("dev", ["feature/*"])


def test_a_management_cluster_has_no_branch() -> None:
    assert WantedBranch.of(resource("mgmt", role="management")) is None
    assert KIND.normalize(resource("mgmt", role="management"))["git"] is None


def test_the_tag_of_an_archived_branch() -> None:
    assert archive_tag("prod", 1_735_689_600.9) == "archive/prod/20250101-000000"


def test_only_where_credentials_come_from_is_in_the_desired_state() -> None:
    auth = {"username": "bot", "token": Secret("t0p-secret", "env:GIT_TOKEN")}
    form = branch_of(resource(git={"repository": URL, "content": CONTENT, "auth": auth})).normal_form()
    assert form["access"] == {"username": "bot", "token": "env:GIT_TOKEN"}
    assert "t0p" not in json.dumps(form)


@pytest.mark.parametrize(
    "git",
    [
        {"repository": URL},
        {"repository": URL, "content": {"chart": "whoami"}},
        {"repository": URL, "content": {**CONTENT, "files": {"a": "a"}}},
        {"repository": "https://user:pw@git.example.com/a.git", "content": CONTENT},
        {"repository": "ext::sh -c id", "content": CONTENT},
        {"repository": "--upload-pack=id", "content": CONTENT},
        {"repository": URL, "branch": "-x", "content": CONTENT},
        {"repository": URL, "content": {"files": {}}},
        {"repository": URL, "content": {"files": {"/a": "a"}}},
        {"repository": URL, "content": CONTENT, "auth": {"token": "a", "sshKey": "b"}},
        {"repository": URL, "content": {**CONTENT, "path": "../deploy"}},
    ],
)
def test_what_the_schema_does_not_take(git: Any) -> None:
    written({"repository": URL, "content": CONTENT, "auth": {"sshKey": "k", "knownHosts": "h"}})
    with pytest.raises(jsonschema.ValidationError):
        written(git)


def change(action: Action, before: Any = None, **spec: Any) -> Change:
    wanted = resource(**spec)
    return Change(wanted.ref, action, wanted, "", before=before, after=KIND.normalize(wanted))


def test_the_branch_comes_after_the_nodes_and_before_the_cluster_is_called_running() -> None:
    steps = KIND.steps(change(Action.CREATE))
    names = [step.name for step in steps]
    assert names.index(WAIT_NODES.name) + 1 == names.index("git") == names.index(RECORD.name) - 1
    assert sum(step.weight for step in steps) == 100
    assert next(step for step in steps if step.name == "git").independent


def test_the_branch_goes_before_the_cluster_does() -> None:
    gone = Lifecycle.from_document({"state": "absent"})
    wanted = Resource(ResourceRef("Cluster", "dev"), {"git": {"repository": URL, "content": CONTENT}}, lifecycle=gone)
    for before in (None, {"provider": "sandbox", "state": "running", "git": {"branch": "dev"}}):
        steps = KIND.steps(Change(wanted.ref, Action.DELETE, wanted, "", before=before))
        assert [step.name for step in steps] == ["mark", "remove-git", "delete", "remove-kubeconfig", "forget"]
        assert sum(step.weight for step in steps) == 100


def test_a_replaced_cluster_keeps_its_branch_unless_it_is_not_wanted_any_more() -> None:
    before = {"provider": "sandbox", "state": "running", "git": {"branch": "dev"}}
    kept = [step.name for step in KIND.steps(change(Action.REPLACE, before))]
    assert "git" in kept
    assert "remove-git" not in kept
    wanted = Resource(ResourceRef("Cluster", "dev"), {})
    dropped = Change(wanted.ref, Action.REPLACE, wanted, "", before=before, after=KIND.normalize(wanted))
    assert "remove-git" in [step.name for step in KIND.steps(dropped)]


def test_weights_keep_their_proportions_and_sum_to_100() -> None:
    for extra in range(12):
        steps = weighted([*KIND.steps(change(Action.CREATE)), *[WAIT_NODES] * extra])
        assert sum(step.weight for step in steps) == 100
        assert min(step.weight for step in steps) >= 1
        assert max(steps, key=lambda step: step.weight).name == "create"
