"""The root folder of a node: 4 MB of its own, the machine's `/usr` read-only beneath it. Called by `rooted`.

Of the machine's `/etc` only what programs need to start is copied: never its users' secrets, keys or certificates.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reconciler.lab.equipment import UNIT

_FOLDERS = (
    *("etc/ssh/sshd_config.d", "etc/systemd/system/multi-user.target.wants", "etc/systemd/system.conf.d"),
    *("etc/systemd/system/timers.target.wants", "opt/bin"),
    *("var/log", "var/tmp", "var/lib/systemd", "var/lib/private", "var/cache", "var/spool/cron/crontabs", "var/mail"),
    *("srv/data", "root/.ssh", "home", "run", "tmp", "proc", "sys", "dev", "usr/lib", "opt"),
)
_LINKS = ("bin", "sbin", "lib", "lib64")
_COPIED = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "pam.d", "security", "login.defs"),
    *("services", "protocols", "debian_version", "default", "init.d", "dbus-1", "cron.d", "crontab", "bash.bashrc"),
)
_ACCOUNTS = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
messagebus:x:102:102::/nonexistent:/usr/sbin/nologin
systemd-network:x:998:998::/:/usr/sbin/nologin
operator:x:1000:1000:Operator:/home/operator:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUPS = """root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
kmem:x:15:
dialout:x:20:
utmp:x:43:
shadow:x:42:
sudo:x:27:operator
messagebus:x:102:
systemd-journal:x:999:
systemd-network:x:998:
crontab:x:103:
operator:x:1000:
nogroup:x:65534:
"""
_SSHD = """PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
SetEnv PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
_RSYNCD = """pid file = /run/rsyncd.pid
[data]
  path = /srv/data
  read only = no
  uid = root
  gid = root
"""
SYNC_TIMER = "config-sync.timer"
_SERVICE = """[Unit]
Description=A small versioned service
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 -I -S /opt/service/service.py listen
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
_SYNC = """[Unit]
Description=Copies the configuration of the other node
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/bin/rsync --archive --timeout=20 rsync://{address}/data/conf/ /srv/data/conf/
"""
_SYNC_TIMER = """[Unit]
Description=Copies the configuration of the other node, timed

[Timer]
OnActiveSec=300
OnUnitActiveSec=300

[Install]
WantedBy=timers.target
"""


def make_root(root: Path, name: str, public_key: str) -> None:
    """Fill the folder of a node. public_key: who may log in as root and as the operator."""
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for link in _LINKS:
        (root / link).symlink_to(f"usr/{link}")
    (root / "var/run").symlink_to("/run")
    for folder in ("tmp", "var/tmp"):
        (root / folder).chmod(0o1777)
    shutil.copy("/usr/lib/os-release", root / "usr/lib/os-release")  # nspawn refuses a root without it
    for entry in _COPIED:
        _copy(Path("/etc") / entry, root / "etc" / entry)
    _accounts(root, public_key)
    _files(root, name)
    _units(root)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    elif source.is_file():
        shutil.copy(source, target, follow_symlinks=True)


def _accounts(root: Path, public_key: str) -> None:
    etc = root / "etc"
    (etc / "passwd").write_text(_ACCOUNTS)
    (etc / "group").write_text(_GROUPS)
    names = [line.split(":")[0] for line in _ACCOUNTS.splitlines()]
    (etc / "shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in names))
    (etc / "shadow").chmod(0o640)
    (etc / "sudoers.d").mkdir()
    (etc / "sudoers").write_text("root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n")
    (etc / "sudoers.d" / "operator").write_text("operator ALL=(ALL) NOPASSWD: ALL\n")
    for path in (etc / "sudoers", etc / "sudoers.d" / "operator"):
        path.chmod(0o440)
    for home, owner in ((root / "root", 0), (root / "home" / "operator", 1000)):
        ssh = home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        (ssh / "authorized_keys").write_text(public_key)
        for path, mode in ((home, 0o700), (ssh, 0o700), (ssh / "authorized_keys", 0o600)):
            path.chmod(mode)
            os.chown(path, owner, owner)


def _files(root: Path, name: str) -> None:
    etc = root / "etc"
    (etc / "machine-id").touch()
    (etc / "fstab").touch()
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    (etc / "os-release").symlink_to("../usr/lib/os-release")
    (etc / "ssh" / "sshd_config").write_text(_SSHD)
    (etc / "rsyncd.conf").write_text(_RSYNCD)
    (root / "srv/data/.keep").touch()


def _units(root: Path) -> None:
    system = root / "etc/systemd/system"
    (system / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (system / UNIT).write_text(_SERVICE)
    (root / "etc/systemd/system.conf.d/lab.conf").write_text("[Manager]\nDefaultTimeoutStopSec=5s\n")
    (system / "multi-user.target.wants" / UNIT).symlink_to(f"/etc/systemd/system/{UNIT}")
    for unit in ("ssh", "rsync", "cron"):
        if Path(f"/lib/systemd/system/{unit}.service").exists():
            (system / "multi-user.target.wants" / f"{unit}.service").symlink_to(f"/lib/systemd/system/{unit}.service")


def add_timer(root: Path, address: str) -> None:
    """Let a node copy the configuration of another one every five minutes: its `config-sync.timer`."""
    system = root / "etc/systemd/system"
    (system / "config-sync.service").write_text(_SYNC.format(address=address))
    (system / SYNC_TIMER).write_text(_SYNC_TIMER)
    (system / "timers.target.wants" / SYNC_TIMER).symlink_to(f"/etc/systemd/system/{SYNC_TIMER}")
