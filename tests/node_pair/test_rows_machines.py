"""Acceptance rows of the upgrade of a pair that need machines: locks that root cannot pass, timers, real units."""

from __future__ import annotations

from pair import Pair
from pair_ground import NEW, NEW_TEXT, OLD_TEXT
from upgrade_log import held

from reconciler.kinds.node_pair.spec import ROLES


def test_row_4_08_nobody_writes_the_configuration_meanwhile_and_the_new_one_stays(pair: Pair) -> None:
    (path,) = pair.spec["configuration"]["new"]
    pair.want_new()
    with held(pair, "master", "install"):
        assert pair.versions()["backup"] == NEW
        for role in ROLES:
            assert pair.ground.run(role, f"echo x >>{path}").returncode != 0
            assert pair.ground.run(role, f"rm -f {path}").returncode != 0
            assert pair.ground.run(role, f"mv {path} {path}.old").returncode != 0
            assert pair.content(role) == OLD_TEXT
            assert (
                pair.ground.run(role, "systemctl is-active config-sync.timer rsync").stdout.split().count("active") == 0
            )
    assert {role: pair.content(role) for role in ROLES} == dict.fromkeys(ROLES, NEW_TEXT)
    assert pair.progress()["synchronize"] == "DONE"
    pair.ground.said("backup", "systemctl start config-sync.service")
    assert {role: pair.content(role) for role in ROLES} == dict.fromkeys(ROLES, NEW_TEXT)
    for role in ROLES:
        pair.ground.said(role, f"echo >>{path}")
