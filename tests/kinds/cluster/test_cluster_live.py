"""Clusters on a real sandbox, by the command line: created, kept, healed, adopted, deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

from cluster_lab import MOTD, MOTD_PATH, NAME, Lab

from reconciler.kinds.cluster.rows import kubeconfig_path
from reconciler.kinds.cluster.test_cluster import ask_sandbox


def test_a_whole_life(lab: Lab) -> None:
    assert lab.apply() == 0
    row = lab.row()
    assert row is not None
    assert (row["actual_state"], row["status"], row["desired_state"]) == ("running", "running", "present")
    assert row["server_ip"] == "127.0.0.1"
    assert row["created_by_us"] == 1
    path = kubeconfig_path(lab.home, NAME)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert row["cluster_uid"] == subprocess.check_output(
        ["kubectl", "--kubeconfig", str(path), "get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}"], text=True
    )
    assert lab.plan()["action"] == "noop"
    lab.write({"provider": "sandbox", "agents": 2, "environment": "dev", "manifests": [MOTD]})
    assert lab.apply() == 0
    changed = lab.row()
    assert changed is not None
    assert (changed["environment"], changed["agents"], changed["id"]) == ("dev", 2, row["id"])
    assert changed["created_at"] == row["created_at"]
    with lab.api() as api:
        assert len(api.list("/api/v1/nodes")) == 3
    lab.write({"provider": "sandbox"}, state="absent")
    assert lab.apply() == 0
    assert lab.row() is None
    assert lab.live() is None
    assert not path.exists()
    assert lab.plan()["action"] == "noop"


def test_looking_writes_nothing(lab: Lab) -> None:
    lab.apply()

    def everything() -> list[Any]:
        with lab.api() as api:
            objects = [api.get(MOTD_PATH), *api.list("/api/v1/nodes")]
        files = {path: path.stat().st_mtime_ns for path in (lab.home / "kubeconfigs").iterdir()}
        return [lab.row(), lab.live(), objects, files]

    before = everything()
    assert lab.plan()["action"] == "noop"
    with lab.api() as api:
        api.delete(MOTD_PATH)
    drifted = everything()
    assert lab.plan()["action"] == "update"
    assert everything() == drifted
    assert drifted[0] == before[0]


def test_drift_is_healed(lab: Lab) -> None:
    lab.apply()
    kubectl = ["kubectl", "--kubeconfig", str(kubeconfig_path(lab.home, NAME))]
    subprocess.run([*kubectl, "patch", "cm", "motd", "-p", '{"data": {"text": "x", "mine": "y"}}'], check=True)
    assert lab.plan()["paths"] == ['spec.manifests["v1/ConfigMap/motd"].data.text']
    assert lab.apply() == 0
    with lab.api() as api:
        healed = api.get(MOTD_PATH)
    assert healed is not None
    assert healed["data"] == {"text": "hello", "mine": "y"}, "what others added stays theirs"
    lab.write({"provider": "sandbox", "manifests": [{**MOTD, "data": {}}]})
    assert lab.apply() == 0, "a dropped field is removed"
    with lab.api() as api:
        assert (api.get(MOTD_PATH) or {})["data"] == {"mine": "y"}


def test_a_tampered_kubeconfig_is_put_right(lab: Lab) -> None:
    lab.apply()
    path = kubeconfig_path(lab.home, NAME)
    written = path.read_text()
    path.write_text(written.replace("127.0.0.1", "169.254.169.254"))
    assert lab.plan()["paths"] == ["spec.kubeconfig"]
    assert lab.apply() == 0
    assert path.read_text() == written
    path.chmod(0o644)
    assert lab.plan()["paths"] == ["spec.kubeconfig"]


def test_a_killed_sandbox_is_drift_and_comes_back_as_it_was(lab: Lab) -> None:
    lab.apply()
    before = lab.live()
    os.kill(lab.sandbox_pid(), signal.SIGKILL)
    plan = lab.plan()
    assert (plan["action"], plan["paths"]) == ("update", ["spec.state"])
    assert lab.apply() == 0
    assert lab.live() == before
    assert lab.plan()["action"] == "noop"


def test_a_vanished_cluster_is_made_again(lab: Lab) -> None:
    lab.apply()
    before = lab.row()
    assert ask_sandbox(lab.home, "DELETE", f"/clusters/{NAME}")[0] == 200
    assert lab.plan()["action"] == "create"
    assert lab.apply() == 0
    after = lab.row()
    assert before is not None
    assert after is not None
    assert after["cluster_uid"] != before["cluster_uid"]
    assert "running -> failed -> creating" in lab.log()


def test_a_cluster_without_a_record_is_adopted_not_made_again(lab: Lab) -> None:
    lab.apply()
    before = lab.live()
    lab.execute("DELETE FROM clusters")
    assert lab.plan()["action"] == "update"
    assert lab.apply() == 0
    assert lab.live() == before
    row = lab.row()
    assert row is not None
    assert (row["actual_state"], row["created_by_us"]) == ("running", 0)


def test_another_cluster_under_the_same_name_is_settled_anew(lab: Lab) -> None:
    lab.apply()
    ask_sandbox(lab.home, "DELETE", f"/clusters/{NAME}")
    ask_sandbox(lab.home, "PUT", f"/clusters/{NAME}", {"servers": 1, "agents": 0})
    assert lab.plan()["action"] == "update"
    assert lab.apply() == 0
    with lab.api() as api:
        assert api.get(MOTD_PATH) is not None


def test_what_was_left_creating_is_tried_again(lab: Lab) -> None:
    lab.apply()
    lab.execute("UPDATE clusters SET actual_state = 'creating', status = 'creating'")
    assert lab.plan()["paths"] == ["spec.state"]
    assert lab.apply() == 0
    row = lab.row()
    assert row is not None
    assert row["actual_state"] == "running"
    assert "creating -> failed -> creating" in lab.log()


def test_a_management_cluster_is_not_deleted(lab: Lab) -> None:
    lab.write({"provider": "sandbox", "role": "management"})
    assert lab.apply() == 0
    lab.write({"provider": "sandbox", "role": "business"}, state="absent")
    assert lab.apply() != 0, "what the record says counts until the new role was applied"
    assert lab.live() is not None
    lab.write({"provider": "sandbox", "role": "business"})
    assert lab.apply() == 0
    lab.write({"provider": "sandbox", "role": "business"}, state="absent")
    assert lab.apply() == 0
    assert lab.live() is None


CUSTOM = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: w, namespace: tools}
spec: {size: 3}
---
apiVersion: v1
kind: Namespace
metadata: {name: tools}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer}}}}
"""


def test_manifests_bring_their_own_types_and_leave_when_dropped(lab: Lab) -> None:
    (lab.specs / "files").mkdir()
    (lab.specs / "files" / "widget.txt").write_text(CUSTOM)
    lab.write({"provider": "sandbox", "manifests": ["files/widget.txt", MOTD]})
    assert lab.apply() == 0
    assert lab.plan()["action"] == "noop"
    place = "/apis/example.com/v1/namespaces/tools/widgets/w"
    with lab.api() as api:
        assert (api.get(place) or {})["spec"] == {"size": 3}
    (lab.specs / "files" / "widget.txt").write_text(CUSTOM.replace("size: 3", "size: 4"))
    assert lab.plan()["paths"] == ['spec.manifests["example.com/v1/Widget/tools/w"].spec.size']
    assert lab.apply() == 0
    lab.write({"provider": "sandbox", "manifests": [MOTD]})
    assert lab.apply() == 0
    with lab.api() as api:
        assert api.get(place) is None
        assert api.get("/api/v1/namespaces/tools") is None
        assert api.get(MOTD_PATH) is not None
    row = lab.row()
    assert row is not None
    assert [entry["key"] for entry in json.loads(row["inventory"])] == ["v1/ConfigMap/motd"]
