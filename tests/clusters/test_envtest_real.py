"""Real programs, where there are some: a real etcd under the recorded kube-apiserver, and a whole real control plane.

The first needs `etcd`, the second `etcd` and `kube-apiserver`, in the folder that KUBEBUILDER_ASSETS names or on PATH;
with kube-controller-manager beside it, that too. Without them they are skipped. `setup-envtest` brings both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.envtest_lab import MOTD, EnvtestLab, envtest
from tests.clusters.envtest_programs import install
from tests.daemon.lab import until

FOLDER = os.environ.get("KUBEBUILDER_ASSETS", "")
PATH = os.pathsep.join(filter(None, [FOLDER, os.environ["PATH"]]))
ETCD = shutil.which("etcd", path=PATH)
API_SERVER = shutil.which("kube-apiserver", path=PATH)


@pytest.fixture
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvtestLab]:
    """A lab whose programs are the real ones."""
    assert API_SERVER is not None
    made = EnvtestLab(tmp_path_factory.mktemp("r"), Path(API_SERVER).parent)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.skipif(ETCD is None, reason="needs a real etcd, in KUBEBUILDER_ASSETS or on PATH")
def test_a_real_etcd_takes_the_flags_and_keeps_the_data(plane: EnvtestLab) -> None:
    plane.programs = install(plane.root / "mixed", ["kube-apiserver", "kube-controller-manager"])
    (plane.programs / "etcd").symlink_to(str(ETCD))
    live_through(plane)


@pytest.mark.skipif(ETCD is None or API_SERVER is None, reason="needs real etcd and kube-apiserver")
def test_a_real_control_plane(real: EnvtestLab) -> None:
    live_through(real)


def live_through(lab: EnvtestLab) -> None:
    """Made, drifted, killed, stopped, deleted."""
    lab.write("dev.yaml", envtest(manifests=[MOTD], createTimeout="3m"))
    lab.apply(timeout=300)
    assert lab.plan() == {}
    lab.put_by_hand()
    uid = (lab.row("dev") or {})["cluster_uid"]
    components = list(lab.recorded()["programs"])
    for program in components:
        lab.kill_component(program)
        assert lab.plan()["Cluster/dev"]["diffs"][0]["before"] == "stopped"
        lab.apply(timeout=300)
        assert lab.has_by_hand()
        assert lab.plan() == {}
    assert (lab.row("dev") or {})["cluster_uid"] == uid
    lab.write("dev.yaml", envtest(manifests=[MOTD], createTimeout="3m", running=False))
    lab.apply(timeout=300)
    assert lab.components() == {}
    lab.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    lab.apply(timeout=300)
    until(lambda: lab.left() == [], lab.left)
