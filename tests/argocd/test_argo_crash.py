"""kill -9 while a cluster is registered, let go, and while the set that it belongs to is applied: it converges."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.argocd.argo_lab import ArgoLab, application_set
from tests.clusters.sandbox_lab import cluster

KILLED = -9
STRIDE = 7
SECRET = "/api/v1/namespaces/argocd/secrets/cluster-dev"


def settle(lab: ArgoLab) -> None:
    """Apply until it is done; then nothing is to do, and nothing remembers that anybody died."""
    for _ in range(3):
        if lab.run("apply", lab.specs, "--yes").code == 0:
            break
    assert lab.plan() == {}
    assert lab.is_whole()


def want(lab: ArgoLab, *, registered: bool) -> None:
    """The cluster, registered and with its set, or with neither."""
    spec = {"argocd": {}} if registered else {}
    lab.write("all.yaml", cluster("dev", **spec), application_set("crash", None if registered else {"state": "absent"}))


def show(lab: ArgoLab, *, registered: bool) -> None:
    """Everything is there, or nothing of it and no note of it either."""
    settle(lab)
    with lab.api() as api:
        assert (api.get(SECRET) is not None) is registered
    noted = lab.rows("SELECT * FROM cluster_attachments"), lab.rows("SELECT * FROM application_sets")
    assert [len(rows) for rows in noted] == ([1, 1] if registered else [0, 0])
    assert lab.live_set("crash") is None or registered
    assert not registered or lab.names("crash") == ["dev"]


def killed(lab: ArgoLab, places: Iterable[int], *, registered: bool) -> None:
    """The way there, killed at each of these lines, and gone on by somebody else."""
    for line in places:
        want(lab, registered=not registered)
        settle(lab)
        want(lab, registered=registered)
        code, said = lab.dying(line)
        assert code == KILLED, f"line {line}: {said}"
        show(lab, registered=registered)


def lines_of(lab: ArgoLab, *, registered: bool) -> int:
    """How many lines the way there has."""
    want(lab, registered=registered)
    code, said = lab.dying(0)
    assert code == 0, said
    return int(said.rpartition("lines: ")[2])


def test_killed_inside_a_registration(lab: ArgoLab) -> None:
    killed(lab, [int(lines_of(lab, registered=True) * 0.8)], registered=True)


@pytest.mark.soak
@pytest.mark.parametrize("registered", [True, False])
def test_killed_at_every_seventh_line(lab: ArgoLab, registered: bool) -> None:
    want(lab, registered=not registered)
    settle(lab)
    total = lines_of(lab, registered=registered)
    killed(lab, range(1, total, STRIDE), registered=registered)


@pytest.mark.soak
@pytest.mark.parametrize("moment", ["opened", "closed"])
@pytest.mark.parametrize(("registered", "ref", "step"), [
    (True, "Cluster/dev", "register"),
    (True, "ApplicationSet/crash", "apply"),
    (False, "Cluster/dev", "unregister"),
    (False, "ApplicationSet/crash", "delete"),
])  # fmt: skip
def test_killed_at_the_boundaries_of_the_steps(
    lab: ArgoLab, registered: bool, ref: str, step: str, moment: str
) -> None:
    want(lab, registered=not registered)
    settle(lab)
    before = len(lab.steps(ref))
    want(lab, registered=registered)

    def reached() -> bool:
        outcome = dict(lab.steps(ref)[before:]).get(step)
        return outcome is not None and (moment == "opened" or outcome != "open")

    lab.kill_when(lab.start("apply", lab.specs, "--yes"), reached)
    show(lab, registered=registered)
