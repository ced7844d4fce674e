"""kill -9 at any line of changing an HAProxy's file: it is whole, it serves, and the next run finds what is left to do.

The lines are those of the code that does it, in the order in which a run comes to them (tests/clusters/dying_at_lines).
A few moments in every suite, many in `make soak`.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.routes.haproxy_lab import BASE_DOMAIN, PROGRAM, HaproxyLab, needs_haproxy

pytestmark = needs_haproxy
CODE = ("/kinds/cluster/haproxy/", "/kinds/cluster/attachments/route.py")
KILLED = -9
SHARES = (0.55, 0.75, 0.9)
"""Where in a run it is killed; many more places in the soak."""
STRIDE = 7
"""How many lines further each time, in the soak."""


class Killed:
    """A cluster whose route comes and goes, by processes that are killed."""

    def __init__(self, lab: SandboxLab, haproxy: HaproxyLab, port: int) -> None:
        self.lab = lab
        lab.mortal = CODE
        self.haproxy = haproxy
        self.plain = haproxy.text
        self.port = port
        self.want(routed=False)
        lab.apply()

    def want(self, *, routed: bool) -> None:
        """Write the spec, with a route or without."""
        self.routed = routed
        more = {"route": {}} if routed else {}
        self.lab.write("dev.yaml", cluster("dev", ports={"httpPort": self.port}, **more))

    def show_whole(self, *, in_place: bool) -> None:
        """Whoever was killed: HAProxy serves, and what it would load next is the old file or the new one."""
        assert self.haproxy.get(f"portainer.devops.{BASE_DOMAIN}") == (200, "Hostname: portainer\n")
        if not in_place:
            assert self.haproxy.text in (self.plain, self.routed_text)
            subprocess.run([PROGRAM, "-c", "-q", "-f", str(self.haproxy.file)], check=True, timeout=30)

    def show_converged(self) -> None:
        """Apply until it is done; HAProxy does what the spec says, and nothing is left beside the file."""
        for _ in range(3):
            if self.lab.run("apply", self.lab.specs, "--yes").code == 0:
                break
        assert self.haproxy.text == (self.routed_text if self.routed else self.plain)
        expected = (200, "Hostname: dev\n") if self.routed else (404, self.haproxy.get("x.example")[1])
        assert self.haproxy.get(f"whoami.dev.{BASE_DOMAIN}") == expected
        beside = {path.name.removeprefix("haproxy.cfg.") for path in self.haproxy.folder.glob("haproxy.cfg.*")}
        assert beside - {"candidate", "previous.new"} <= {"lock", "previous"}, "what is written over anew is no matter"
        assert self.lab.plan() == {}
        assert self.lab.is_whole()

    def learn(self) -> int:
        """Route it once: what the file is then, and how many lines that took."""
        self.want(routed=True)
        lines = self.lab.lines()
        self.routed_text = self.haproxy.text
        return lines

    def die(self, line: int, *, in_place: bool) -> bool:
        """The other way round than it is, killed at that line; then to the end. False when it came to fewer lines."""
        self.want(routed=not self.routed)
        if not self.lab.dies_at(line):
            return False
        self.show_whole(in_place=in_place)
        self.show_converged()
        return True


def test_killed_at_lines_of_a_change(lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]) -> None:
    killed = Killed(lab, haproxy, behind["dev"])
    total = killed.learn()
    assert sum(killed.die(int(total * share), in_place=False) for share in SHARES) >= 2


@pytest.mark.soak
@pytest.mark.parametrize("in_place", [False, True])
def test_killed_at_lines_all_along(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int], in_place: bool
) -> None:
    lab.configure(kinds={"Cluster": {"haproxy": {**haproxy.settings, "inPlace": in_place}}})
    killed = Killed(lab, haproxy, behind["dev"])
    total = killed.learn()
    count = sum(killed.die(line, in_place=in_place) for line in range(STRIDE, total, STRIDE))
    print(f"\nkilled at {count} of {total} lines")
    assert count > 20


def test_killed_between_the_file_and_haproxy_it_is_loaded_by_the_next(
    lab: SandboxLab, haproxy: HaproxyLab, behind: dict[str, int]
) -> None:
    """The file is as it should be, and HAProxy does not know: only the record tells. Then likewise for a removal."""
    killed = Killed(lab, haproxy, behind["dev"])
    killers = {**haproxy.settings, "reload": {"command": ["sh", "-c", "kill -9 $PPID"]}}
    for routed in (True, False):
        killed.want(routed=routed)
        lab.configure(kinds={"Cluster": {"haproxy": killers}})
        assert lab.run("apply", lab.specs, "--yes").code == KILLED
        assert ("be_dev" in haproxy.text) is routed
        assert (haproxy.get(f"whoami.dev.{BASE_DOMAIN}")[0] == 200) is not routed, "what it had before"
        lab.configure(kinds={"Cluster": {"haproxy": haproxy.settings}})
        paths = [entry["path"] for entry in lab.plan()["Cluster/dev"]["diffs"]]
        assert paths == (["spec.route.loaded"] if routed else ["spec.route"]), paths
        lab.apply()
        assert (haproxy.get(f"whoami.dev.{BASE_DOMAIN}")[0] == 200) is routed
        assert lab.plan() == {}
