"""What goes wrong around a project: each a clear condition on the resource, nothing half recorded, put right later."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from git_servers import SSHD, smart_http, ssh_server
from project_lab import LabCluster, ProjectLab, Shop

from tests.daemon.lab import document

TOKEN = "this-is-the-token"
HANG_UP = (0, dict[str, Any]())


@pytest.fixture
def dev(lab: ProjectLab) -> Iterator[LabCluster]:
    """The cluster, with its gate in order."""
    gate = lab.clusters["dev"].gate
    gate.forget()
    yield lab.clusters["dev"]
    gate.delay = 0.0


@pytest.fixture(scope="module")
def bare(lab: ProjectLab) -> LabCluster:
    """A recorded cluster without Flux."""
    made = lab.cluster("bare", flux=False)
    lab.ok("apply", lab.specs, "--yes")
    made.client.get("/version")  # so that its connection is ours, not a test's
    return made


def shown(shop: Shop) -> dict[str, Any]:
    """What `reconciler get` says of a project: `ready`, `reason`, `message` and more."""
    return dict(json.loads(shop.lab.run("get", shop.ref, "-o", "json").out))


def namespaces(shop: Shop, cluster: LabCluster) -> list[str]:
    """Those that a project has in a cluster."""
    found = cluster.client.get(f"/api/v1/namespaces?labelSelector=reconciler.dev/name={shop.name}")["items"]
    return [one["metadata"]["name"] for one in found]


def assert_failed(shop: Shop, reason: str, *words: str, ready: str = "False") -> None:
    """It failed while GitOps was set up, for this reason, and says so wherever somebody looks."""
    said, row = shown(shop), shop.row
    assert (said["ready"], said["reason"]) == (ready, reason), said["message"]
    for text in (said["message"], row["initialization_error"]):
        assert [word for word in words if word not in text] == [], text
    assert row["status"] == "failed"
    assert row["progress"] < 100
    assert list(shop.steps().values()) == [*["completed"] * 5, "failed", "pending"]
    assert shop.lab.init_steps(shop.name)[5]["duration"] >= 0
    assert shop.resources() == []
    assert not shop.lab.rows("SELECT * FROM steps WHERE outcome = 'open'")


def assert_done(shop: Shop) -> None:
    """Everything is there, once."""
    assert (shop.row["status"], shop.row["progress"], shop.row["initialization_error"]) == ("active", 100, None)
    assert len(shop.resources()) == 4
    assert set(shop.steps().values()) == {"completed"}
    assert shown(shop)["ready"] == "True"
    assert shop.plan() is None


def test_a_wrong_token_is_named_and_stands_nowhere(lab: ProjectLab, dev: LabCluster) -> None:
    lab.configure(secrets={"env": ["SHOP_*"]})
    shop = lab.shop("wrong-token")
    with smart_http(shop.repository.path.parent, f"git:{TOKEN}") as served:
        url = f"{served.url}/{shop.repository.path.name}"
        repository = {"url": url, "auth": {"token": {"fromEnv": "SHOP_TOKEN"}}}
        shop.environ["SHOP_TOKEN"] = "wrong-one-of-many"
        shop.apply(code=None, repository=repository)
        assert_failed(shop, "AuthenticationFailed", url, "the credentials are wrong")
        assert (dev.gate.writes(), namespaces(shop, dev)) == ([], [])
        shop.environ["SHOP_TOKEN"] = TOKEN
        shop.apply()
        assert_done(shop)
    content = b"".join(path.read_bytes() for path in lab.home.iterdir() if path.is_file())
    assert TOKEN.encode() not in content
    assert b"wrong-one-of-many" not in content


@pytest.mark.skipif(SSHD is None, reason="sshd is not installed")
def test_a_changed_host_key_stops_everything(lab: ProjectLab, dev: LabCluster, tmp_path: Path) -> None:
    lab.configure(secrets={"env": ["SHOP_*"]})
    shop = lab.shop("host-key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    with ssh_server(tmp_path / "ssh") as server:
        host, kind, _ = server.known_hosts.read_text().split()
        changed = f"{host} {kind} {(tmp_path / 'other.pub').read_text().split()[1]}\n"
        auth = {"sshKey": {"fromEnv": "SHOP_KEY"}, "knownHosts": changed}
        shop.environ["SHOP_KEY"] = server.key.read_text()
        shop.apply(code=None, repository={"url": server.url(shop.repository.path), "auth": auth})
    assert_failed(shop, "HostKeyChanged", "host key is another one than auth.knownHosts says")
    assert (dev.gate.writes(), namespaces(shop, dev)) == ([], [])


def test_row_3_04_a_cluster_without_flux_is_named_until_it_has_one(lab: ProjectLab, bare: LabCluster) -> None:
    shop = lab.shop("no-flux", cluster="bare")
    bare.gate.forget()
    shop.apply(code=None)
    assert_failed(shop, "NoFlux", "cluster bare: ", "GitRepository of source.toolkit.fluxcd.io/v1", "install Flux 2.0")
    assert bare.gate.writes() == []
    lab.serve_flux(bare)
    shop.apply()
    assert_done(shop)


def test_case_5_an_api_that_goes_away_in_the_middle_leaves_nothing_twice(lab: ProjectLab, dev: LabCluster) -> None:
    shop = lab.shop("api-down")

    def hangs_up(_method: str, _path: str) -> tuple[int, dict[str, Any]] | None:
        return HANG_UP if len(dev.gate.writes()) > 2 else None

    with dev.gate.misbehaving(hangs_up):
        shop.apply(code=None)
    assert_failed(shop, "Unreachable", "127.0.0.1", ready="Unknown")
    assert len(namespaces(shop, dev)) == 1, "what was made stays"
    assert len(json.loads(shop.row["inventory"])) == 5, "and is known"
    shop.apply()
    assert_done(shop)
    assert len(namespaces(shop, dev)) == 1


@pytest.mark.parametrize("delay", [0.1, pytest.param(2.0, marks=pytest.mark.soak)])
def test_a_slow_api_is_waited_for(lab: ProjectLab, dev: LabCluster, delay: float) -> None:
    shop = lab.shop(f"slow-{int(delay)}")
    dev.gate.delay = delay
    shop.apply()
    dev.gate.delay = 0.0
    assert len(dev.gate.passed) <= 40, "its time is the number of calls"
    assert_done(shop)


def test_fields_of_another_manager_are_reported_and_taken_only_on_request(lab: ProjectLab, dev: LabCluster) -> None:
    shop = lab.shop("conflict")
    shop.apply()
    path = shop.kustomization_path("staging")
    live = dev.client.get(path)
    theirs = {"apiVersion": live["apiVersion"], "kind": live["kind"], "spec": {"interval": "9m"}}
    theirs["metadata"] = {"name": live["metadata"]["name"]}
    query = "?fieldManager=somebody&force=true"
    assert dev.client.call("PATCH", path + query, theirs, Content_Type="application/apply-patch+yaml")[0] == 200
    assert "somebody" in shop.apply(code=None)
    said = shown(shop)
    assert said["ready"] == "False"
    assert [word for word in ("somebody", ".spec.interval", "staging") if word not in said["message"]] == []
    assert dev.client.get(path)["spec"]["interval"] == "9m"
    assert len(shop.resources()) == 4
    shop.apply(flux={"force": True})
    assert dev.client.get(path)["spec"]["interval"] == "1m"
    assert_done(shop)


def test_row_3_09_names_at_the_limits_of_kubernetes_have_paths_that_were_pushed(
    lab: ProjectLab, dev: LabCluster
) -> None:
    environments = [
        {"type": "staging", "slug": "1e5", "host": f"{'h' * 63}.{'i' * 63}.example"},
        {"type": "testing", "slug": "e" * 54},
        {"type": "production", "namespace": "0" * 63},
    ]
    shop = lab.shop("n" * 63, slug="7" * 63, environments=environments, template={"name": "web-app"})
    shop.repository.git("update-ref", "-d", "refs/heads/main")
    shop.apply()
    assert_done(shop)
    assert {row["name"].partition("-")[2] for row in shop.resources()} == {"repo", "1e5", "e" * 54, "production"}
    for slug in ("1e5", "e" * 54, "production"):
        path = dev.client.get(shop.kustomization_path(slug))["spec"]["path"]
        assert shop.repository.git("ls-tree", "-d", "--name-only", "main", path.removeprefix("./"))
    for slug, words in (("e" * 55, "64 characters"), ("E", "lower-case")):
        shop.write(environments=[{"type": "testing", "slug": slug}])
        said = lab.run("plan", shop.folder).text
        assert [one for one in (words, "environments[0].slug") if one not in said] == [], said


def test_a_template_of_ones_own_is_pushed_unless_it_leads_elsewhere(lab: ProjectLab, dev: LabCluster) -> None:
    shop = lab.shop("own-template", template={"path": "mine"})
    shop.repository.git("update-ref", "-d", "refs/heads/main")
    template = {
        "template.json": '{"description": "Mine.", "variables": {"text": {"type": "string", "description": "Any."}}}',
        "overlay/kustomization.yaml.j2": "namespace: {{ environment.namespace }}\n# {{ variables.text }}\n",
        "files/notes.txt": "{{ nothing is rendered here }}\n",
    }
    shop.spec["template"]["variables"] = {"text": "yes\n- $(id) {{ '{{' }} 7 * 7 }}"}
    for name, text in template.items():
        (shop.folder / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.folder / "mine" / name).write_text(text)
    (shop.folder / "mine" / "files" / "secret").symlink_to(lab.home / "config.yaml")
    planned = shop.plan()
    assert planned is not None
    assert "files/secret is a link" in planned["why"], "a plan says so already"
    shop.apply(code=None)
    said = shown(shop)
    assert (said["ready"], said["reason"]) == ("False", "InvalidTemplate")
    assert "files/secret is a link" in said["message"]
    assert (shop.repository.head(), dev.gate.writes(), shop.resources()) == ("", [], [])
    (shop.folder / "mine" / "files" / "secret").unlink()
    shop.spec["description"] = "whose generation is another"
    shop.apply()
    assert_done(shop)
    overlay = shop.repository.git("show", "main:k8s/overlays/staging/kustomization.yaml")
    assert overlay == f'namespace: "{shop.namespace}"\n# "yes\\n- $(id) {{{{ 7 * 7 }}}}"'
    assert shop.repository.git("show", "main:notes.txt") == "{{ nothing is rendered here }}"


MINE = {
    "template.json": '{"description": "Mine.", "variables": {}}',
    "overlay/kustomization.yaml.j2": "resources: []\n",
    "files/notes.txt": "first\n",
}


def write_template(shop: Shop) -> Path:
    """A template beside the project's document, and nothing in its repository."""
    shop.repository.git("update-ref", "-d", "refs/heads/main")
    for name, text in MINE.items():
        (shop.folder / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.folder / "mine" / name).write_text(text)
    return shop.folder / "mine"


def test_a_template_of_ones_own_that_is_edited_is_pushed_again(lab: ProjectLab, dev: LabCluster) -> None:
    """Also where nothing in the document moved; and a folder that cannot be read says so and changes nothing."""
    shop = lab.shop("edited-template", template={"path": "mine"})
    mine = write_template(shop)
    shop.apply()
    assert_done(shop)
    assert shop.plan() is None
    written, commit = dev.gate.writes(), shop.repository.head()

    (mine / "files" / "notes.txt").write_text("second\n")
    (mine / "files" / "more.txt").write_text("more\n")
    planned = shop.plan()
    assert planned is not None
    assert [step["name"] for step in planned["steps"]] == ["push_template", "finalize"]
    assert "edited since it was pushed" in json.dumps(planned["diffs"])
    shop.apply()
    assert [shop.repository.git("show", f"main:{name}.txt") for name in ("notes", "more")] == ["second", "more"]
    assert shop.repository.git("rev-parse", "main~1") == commit, "one commit, on top"
    assert shop.plan() is None
    assert dev.gate.writes() == written, "Flux sees the new commit by itself"

    (mine / "files" / ".notes.txt.swp").write_text("somebody has it open")
    (mine / "files" / ".#notes.txt").symlink_to("ann@here.1")
    assert shop.plan() is None, "what editors leave is nobody's template"

    (mine / "files" / "notes.txt").write_text("third\n")
    reviewed = shop.plan()
    (mine / "files" / "notes.txt").write_text("fourth\n")
    other = shop.plan()
    assert reviewed is not None
    assert other is not None
    assert reviewed["fingerprint"] != other["fingerprint"], "who allows the one has not allowed the other"
    (mine / "files" / "notes.txt").write_text("second\n")
    assert shop.plan() is None

    mine.rename(shop.folder / "elsewhere")
    assert shop.plan() is None, "what cannot be read is not taken for edited"
    shop.apply(code=None)
    said = shown(shop)
    assert said["ready"] == "False"
    assert 'template.path "mine": there is no such folder' in said["message"]
    assert (shop.repository.git("show", "main:notes.txt"), dev.gate.writes()) == ("second", written)
    (shop.folder / "elsewhere").rename(mine)
    shop.apply()
    assert shown(shop)["ready"] == "True"


@pytest.mark.parametrize("path", ["n" * 300, "~nosuchuser/mine"])
def test_a_template_that_cannot_be_looked_for_concerns_its_project_alone(lab: ProjectLab, path: str) -> None:
    """It is said, the others of its cluster are looked at as ever, and it can be deleted."""
    name = f"led-astray-{len(path)}"
    shop = lab.shop(name, template={"path": "mine"})
    write_template(shop)
    shop.apply()
    shop.spec["template"] = {"path": path}
    planned = shop.plan()
    assert planned is not None
    assert (planned["action"], planned["obstacle"]) == ("update", None), "an error of the look would be unknown"
    said = shop.apply(code=None)
    assert "template.path" in said
    assert "Traceback" not in said
    shop.lifecycle["state"] = "absent"
    shop.apply()
    assert lab.rows("SELECT * FROM projects WHERE resource = ?", name) == []


def test_two_projects_never_have_one_slug(lab: ProjectLab) -> None:
    """Neither a new one nor one that is changed takes what another has, and nothing of it is half done."""
    first, second = lab.shop("slug-1", slug="taken"), lab.shop("slug-2", slug="free")
    first.apply()
    second.apply()
    for shop, before in ((second, "free"), (lab.shop("slug-3"), "")):
        said = shop.apply(code=None, slug="taken")
        assert "slug taken is that of Project/slug-1: choose another" in said
        rows = lab.rows("SELECT slug FROM projects WHERE resource = ?", shop.name)
        assert [row["slug"] for row in rows] == ([before] if before else [])
        assert shown(shop)["reason"] == "SlugTaken"
    second.apply(slug="free")
    assert shown(second)["ready"] == "True"


def test_a_plan_names_variables_that_a_template_does_not_take(lab: ProjectLab) -> None:
    shop = lab.shop("variables", cluster="planned", template={"name": "web-app", "variables": {"port": "80"}})
    shop.write()
    (shop.folder / "cluster.yaml").write_text(document("Cluster", "planned", {"provider": "sandbox"}))
    planned = shop.plan()
    assert planned is not None
    assert "lives in Cluster/planned" in planned["why"]
    assert "spec.template: template web-app: port: '80' is not of type 'integer'" in planned["why"]
