"""The configuration of a node: sums, backups, writing and restoring, on a real machine, killed wherever it can be."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pair_ground import Ground, until
from pair_nodes import PAIR, busybox_node, configuration_spec, fragile, node_of, put_shims

from reconciler.errors import BlockedError, ReconcilerError, TerminalError
from reconciler.kinds.node_pair.nodes.configuration import Configuration
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import ConfigurationSpec, NewFile
from reconciler.model.secret import Secret

RUN = "3f2a9c1b7d20"
ODD = "a b'\"\n$(x)`-*\\"
FILL = """set -e
chattr -R -f -i /srv/app || true
rm -rf /srv/app /srv/backups /var/lib/reconciler-node; mkdir -p "/srv/app/sub/empty" "/srv/app/$1"; cd /srv/app
echo one >one; chown operator one; chmod 640 one; echo two >sub/-two; printf 'no newline' >"$1/$1"; ln -s one link
ln -s nowhere "$1/broken"; mkfifo fifo; echo x >"$(printf 'latin-\\351')"; chmod 2750 sub
echo prepared >prepared; touch -d @1700000000 one sub/-two"""
SHOW = """cd /srv/app && find . ! -name . -printf '%M %U:%G %y %l %P\\0' | sort -z | tr '\\0\\n' '\\n?'
find . -type f | sort | xargs -d '\\n' sha256sum; true"""


@pytest.fixture(scope="module")
def node(machines: Ground) -> Iterator[Node]:
    with node_of(machines) as one:
        one.read("true")  # the connection is the module's, not that of a test
        put_shims(machines)
        yield one


@pytest.fixture
def filled(ground: Ground, node: Node) -> Iterator[Configuration]:
    node.read(["/bin/sh", "-c", FILL, "sh", ODD])
    yield Configuration(node, configuration_spec("/srv/app", "/srv/app/sub", "/srv/none"), PAIR)
    node.run("chattr -R -f -i /srv/app")  # else the lab's folder could not be removed


def secret(text: str) -> NewFile:
    return NewFile(Secret(text, "file:new"))


def shown(node: Node) -> str:
    """All that there is, by other means than ours."""
    return node.read(SHOW).replace(ODD.replace("\n", "?"), "ODD")


def left_over(node: Node) -> str:
    """What scripts of ours left lying about."""
    found = "-name '.reconciler-new-*' -o -name replacing -o -name '.new-*'"
    return node.read(f"find /srv /var/lib/reconciler-node {found}").strip()


CHANGES = {
    "/srv/app/one": secret("new one\n"),
    "/srv/app/sub/-two": secret("new two, without a newline"),
    "/srv/app/made/by us/three": secret("three\0 and é\n"),
    "/srv/app/four": NewFile(file="/srv/app/prepared"),
}


def test_every_file_has_its_sum_and_what_is_missing_has_none(filled: Configuration, node: Node) -> None:
    sums = filled.sums()
    paths = {"one", "sub/-two", f"{ODD}/{ODD}", "link", "prepared", f"{ODD}/broken", "latin-\udce9"}
    assert set(sums) == {f"/srv/app/{path}" for path in paths}
    assert sums["/srv/app/one"] == node.read("sha256sum </srv/app/one").split()[0]
    assert sums["/srv/app/link"] == node.read("printf link:one | sha256sum").split()[0]
    missing = Configuration(node, configuration_spec("/srv/none", "/srv/app/one/below"), PAIR)
    assert missing.sums() == {}
    assert "reconciler-node" not in node.read("ls /var/lib"), "looking writes nothing"


def test_what_cannot_be_looked_at_is_not_missing(filled: Configuration, node: Node) -> None:
    loop = "ln -s loop /srv/loop"
    node.read(f"rm -f /srv/loop; {loop}")
    with pytest.raises(TerminalError, match="cannot be looked at") as caught:
        Configuration(node, configuration_spec("/srv/loop/conf"), PAIR).sums()
    assert caught.value.reason == "Unreadable"
    node.read("rm /srv/loop")


def test_a_backup_is_whole_private_and_stays_as_it_is(filled: Configuration, node: Node) -> None:
    before = filled.sums()
    assert filled.back_up(RUN) == before
    backup = f"/srv/backups/{PAIR}/{RUN}"
    assert node.read(
        f"find {backup} -type d -printf '%m\\n' | sort -u; find {backup} -type f -printf '%m\\n' | sort -u"
    ) == ("700\n600\n")
    assert node.read(f"cat {backup}/files/srv/app/one") == "one\n"
    node.read("echo changed >/srv/app/one")
    assert filled.back_up(RUN) == before
    assert filled.sums() != before
    node.read(f"echo x >>{backup}/manifest")
    with pytest.raises(TerminalError) as caught:
        filled.restore(RUN)
    assert caught.value.reason == "BackupDamaged"


def test_it_comes_back_exactly_as_it_was(filled: Configuration, node: Node) -> None:
    then = shown(node)
    before = filled.back_up(RUN)
    node.read("""cd /srv/app; echo changed >one; chmod 600 one; chown 0 one; rm -r sub link; ln -s other link
    mkdir -p made/deep; echo x >made/deep/file; echo y >"$(printf 'new\\nline')"; chmod 777 latin*; chmod 700 .""")
    assert filled.restore(RUN) == before
    assert shown(node) == then
    assert node.read("stat -c %Y /srv/app/one") == "1700000000\n"
    assert filled.restore(RUN) == before
    assert left_over(node) == ""
    with pytest.raises(TerminalError) as caught:
        filled.restore("000000000000")
    assert caught.value.reason == "NoBackup"


def test_only_what_was_backed_up_is_restored(filled: Configuration, node: Node) -> None:
    filled.back_up(RUN)
    node.read("mkdir -p /srv/more; echo keep >/srv/more/file")
    wider = Configuration(node, configuration_spec("/srv/app", "/srv/more"), PAIR)
    wider.restore(RUN)
    assert node.read("cat /srv/more/file; rm -r /srv/more") == "keep\n"


def test_a_damaged_copy_is_not_put_in_place(filled: Configuration, node: Node) -> None:
    filled.back_up(RUN)
    node.read(
        f"echo rot >>/srv/backups/{PAIR}/{RUN}/files/srv/app/sub/-two; cd /srv/app; echo c >one; echo c >sub/-two"
    )
    now = shown(node)
    with pytest.raises(TerminalError, match="is not what it should be"):
        filled.restore(RUN)
    assert shown(node) == now
    assert left_over(node) == ""


def test_what_is_written_keeps_mode_and_owner_and_what_is_new_is_private(filled: Configuration, node: Node) -> None:
    assert filled.pending(CHANGES) == dict.fromkeys(CHANGES, "different")
    sums = filled.write(CHANGES)
    assert filled.pending(CHANGES) == dict.fromkeys(CHANGES, "current")
    assert sums == filled.sums()
    assert node.read(
        "cd /srv/app; cat one; stat -c '%a %U' one 'made/by us' 'made/by us/three' four; cat sub/-two"
    ) == ("new one\n640 operator\n755 root\n600 root\n600 root\nnew two, without a newline")
    assert node.read("cat '/srv/app/made/by us/three'") == "three\0 and é\n"
    inode = node.read("stat -c %i /srv/app/one")
    filled.write(CHANGES)
    assert node.read("stat -c %i /srv/app/one") == inode, "what is there already is left alone"
    assert left_over(node) == ""


def test_what_nobody_can_write_is_not_pending(filled: Configuration, node: Node) -> None:
    stored = {"/srv/app/one": NewFile({"digest": "x"}), "/srv/app/x": NewFile(file="/srv/app/not there")}
    assert filled.pending(stored) == dict.fromkeys(stored, "current")
    assert filled.pending({}) == {}
    with pytest.raises(BlockedError):
        filled.write(stored)
    with pytest.raises(TerminalError) as caught:
        filled.write({"/srv/app/one": secret("x"), "/srv/app/x": NewFile(file="/srv/app/not there")})
    assert caught.value.reason == "NoSuchFile"
    with pytest.raises(TerminalError, match="which is written as well"):
        filled.write({"/srv/app/one": secret("x"), "/srv/app/x": NewFile(file="/srv/app/one")})
    assert node.read("cat /srv/app/one") == "one\n"


@pytest.mark.parametrize(
    ("path", "prepare", "reason"),
    [
        ("/srv/app/sub", "true", "IsFolder"),
        ("/srv/app/link", "true", "SymbolicLink"),
        ("/srv/app/link/x", "true", "NoFolder"),
        ("/srv/app/sub/-two", "chattr +i /srv/app/sub/-two", "Locked"),
        ("/srv/app/sub/new", "chattr +i /srv/app/sub", "Locked"),
    ],
)
def test_what_cannot_be_replaced_is_named_and_nothing_is_changed(
    filled: Configuration, node: Node, path: str, prepare: str, reason: str
) -> None:
    node.read(prepare)
    before = shown(node)
    with pytest.raises(TerminalError) as caught:
        filled.write({"/srv/app/one": secret("new"), path: secret("new")})
    assert caught.value.reason == reason
    assert path.rpartition("/")[0] in caught.value.message
    assert shown(node) == before
    assert left_over(node) == ""


def test_on_a_full_disk_nothing_is_changed(filled: Configuration, node: Node) -> None:
    node.read(
        "rm -rf /srv/app; mkdir /srv/app; mount -t tmpfs -o size=64k,mode=700 none /srv/app; cd /srv/app; echo 1 >one"
    )
    try:
        before = shown(node)
        with pytest.raises(TerminalError, match="no space is left, and nothing was changed") as caught:
            filled.write({"/srv/app/one": secret("small"), "/srv/app/two": secret("x" * 100_000)})
        assert caught.value.reason == "DiskFull"
        assert "xxxx" not in caught.value.message
        assert shown(node) == before
        full = replace(configuration_spec("/srv/app"), backup_directory="/srv/app.full")
        node.read("mkdir -p /srv/app.full; mount -t tmpfs -o size=16k none /srv/app.full")
        node.read("head -c 50000 /dev/zero >/srv/app/big")
        with pytest.raises(TerminalError) as caught:
            Configuration(node, full, PAIR).back_up(RUN)
        assert caught.value.reason == "DiskFull"
        assert node.read(f"ls -A /srv/app.full/{PAIR}") == ""
    finally:
        node.read("umount /srv/app.full; umount /srv/app; rmdir /srv/app.full")


def test_hundreds_of_files_are_backed_up_written_and_restored(filled: Configuration, node: Node) -> None:
    node.read('cd /srv/app; for n in $(seq 400); do echo $n >"sub/file $n"; done')
    before = filled.back_up(RUN)
    assert len(before) == 407
    many = {f"/srv/app/sub/file {number}": secret(f"new {number}") for number in range(1, 31)}
    filled.write(many)
    node.read("cd /srv/app/sub; rm 'file 300' 'file 301'")
    assert filled.restore(RUN) == before


def test_old_backups_go_and_the_newest_stay(filled: Configuration, node: Node) -> None:
    runs = [f"{number:012x}" for number in range(7)]
    for number, run in enumerate(runs):
        filled.back_up(run)
        node.read(f"touch -d @{1_700_000_000 + number} /srv/backups/{PAIR}/{run}")
    filled.prune_backups()
    assert node.read(f"ls -A /srv/backups/{PAIR}").split() == runs[2:]
    with pytest.raises(TerminalError):
        Configuration(node, configuration_spec("/srv", backups="/srv/backups"), PAIR).back_up(RUN)


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")
def test_with_other_tools_it_is_the_same(ground: Ground, filled: Configuration, node: Node) -> None:
    then, sums = shown(node), filled.sums()
    with busybox_node(ground) as small:
        configuration = Configuration(small, configuration_spec("/srv/app", "/srv/none"), PAIR)
        assert small.run("sha256sum -z /dev/null").returncode, "it has no option for that"
        assert configuration.sums() == sums
        assert configuration.back_up(RUN) == sums
        assert configuration.write(CHANGES) == filled.sums() != sums
        assert filled.pending(CHANGES) == configuration.pending(CHANGES) == dict.fromkeys(CHANGES, "current")
        node.read("cd /srv/app; rm -r sub; chmod 777 one; echo x >new")
        assert configuration.restore(RUN) == sums
        assert shown(node) == then
        configuration.prune_backups(0)
        assert node.read(f"ls -A /srv/backups/{PAIR}") == ""
    assert left_over(node) == ""


MARK = "KEY-8c1f2e9d-never-seen"
WATCH = """rm -f /srv/seen /srv/stop; : >/srv/watching
while ! test -e /srv/stop; do
  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -aF -f /srv/mark >>/srv/seen
done
rm -f /srv/watching /srv/stop"""


def test_row_4_20_contents_never_leave_the_node_nor_show_in_its_processes(
    ground: Ground, filled: Configuration, node: Node
) -> None:
    heard: list[str] = []
    with node_of(ground, log=heard.append) as one:
        slow = fragile(ground, one.ssh, 0)
        configuration = Configuration(slow, configuration_spec("/srv/app"), PAIR)
        watcher = threading.Thread(target=ground.run, args=("master", WATCH))
        node.read("cat >/srv/mark", stdin=f"{MARK[:14]}\n")
        watcher.start()
        try:
            until(lambda: node.run("test -e /srv/watching").returncode == 0, "the watcher")
            text = f"{MARK}\n{'filling ' * 20_000}"
            ours = threading.Thread(target=configuration.write, args=({"/srv/app/key": secret(text)},))
            ours.start()
            here = []
            while ours.is_alive():
                here.append(subprocess.run(["grep", "-rlsaF", MARK, "/proc/self/cmdline"], capture_output=True).stdout)
            ours.join()
            errors = [error_of(lambda: configuration.write({"/srv/app/sub": secret(MARK)}))]
            configuration.back_up(RUN)
            configuration.restore(RUN)
            errors.append(
                error_of(lambda: configuration.write({"/srv/app/x": secret(MARK), "/srv/app/link": secret(MARK)}))
            )
        finally:
            node.read("touch /srv/stop")
            watcher.join()
    assert all(slow.private)
    assert MARK not in "".join([*heard, *errors])
    assert node.read("cat /srv/seen") == ""
    assert node.read("grep -c KEY /srv/app/key") == "1\n", "it was written"
    assert node.read(f"grep -rlF {MARK[:12]} /var/lib/reconciler-node /var/log /run/log 2>/dev/null || true") == ""


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(ReconcilerError) as caught:
        call()
    return f"{caught.value!r} {caught.value} {caught.getrepr(style='long', showlocals=False)}"


def test_what_is_watched_would_have_been_seen(ground: Ground, filled: Configuration, node: Node) -> None:
    """The watcher of the test above does see what a process says."""
    node.read("cat >/srv/mark", stdin=f"{MARK[:14]}\n")
    watcher = threading.Thread(target=ground.run, args=("master", WATCH))
    watcher.start()
    until(lambda: node.run("test -e /srv/watching").returncode == 0, "the watcher")
    node.read(f"sleep 0.5 # {MARK}")
    node.read("touch /srv/stop")
    watcher.join()
    assert MARK in node.read("cat /srv/seen")


def calls_of(script: Callable[[Configuration], object], ground: Ground, node: Node, spec: ConfigurationSpec) -> int:
    """How many of its tools a script calls."""
    whole = fragile(ground, node.ssh, 10**6)
    script(Configuration(whole, spec, PAIR))
    return int(node.read("wc -l </srv/killing/calls"))


SCRIPTS: dict[str, Callable[[Configuration], object]] = {
    "write": lambda one: one.write(CHANGES),
    "restore": lambda one: one.restore(RUN),
    "back_up": lambda one: one.back_up(RUN),
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_killed_at_some_of_its_tools_it_is_wholly_old_or_wholly_new(ground: Ground, node: Node, what: str) -> None:
    killed_and_gone_on_with(ground, node, what, moments=4)


@pytest.mark.soak
@pytest.mark.parametrize("what", SCRIPTS)
def test_killed_at_every_tool_it_is_wholly_old_or_wholly_new(ground: Ground, node: Node, what: str) -> None:
    seen = killed_and_gone_on_with(ground, node, what, moments=10**6)
    assert what != "write" or seen == {False, True}, "some were taken back, some were ended"


def killed_and_gone_on_with(ground: Ground, node: Node, what: str, moments: int) -> set[bool]:
    """Kill the script at that many of its tools. Whether what came of it was new, where something else ended it."""
    spec, script = configuration_spec("/srv/app"), SCRIPTS[what]
    calm = Configuration(node, spec, PAIR)
    old = prepared(node, calm, what)
    total = calls_of(script, ground, node, spec)
    new, seen = shown(node), set()
    assert total > 10
    for count, at in enumerate(range(total, 0, -max(1, total // moments))):
        prepared(node, calm, what)
        with pytest.raises(ReconcilerError):
            script(Configuration(fragile(ground, node.ssh, at), spec, PAIR))
        if count % 2:
            script(calm)  # the same again
            assert shown(node) == new, f"killed at {at} and run again"
        else:
            calm.write({})  # anything that begins by ending what was interrupted
            assert shown(node) in (old, new), f"killed at {at}: neither old nor new"
            seen.add(shown(node) == new)
        if what != "back_up" or count % 2:
            assert left_over(node) == "", f"killed at {at}"
    return seen


def prepared(node: Node, calm: Configuration, what: str) -> str:
    """What is there before the script."""
    node.read(["/bin/sh", "-c", FILL, "sh", ODD])
    if what == "restore":
        calm.back_up(RUN)
        node.read("cd /srv/app; echo changed >one; rm -r sub; mkdir made; echo x >made/x")
    return shown(node)
