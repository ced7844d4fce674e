"""Two nodes for trying node pairs: small machines with a real systemd, sshd and rsync, made and removed in a second.

    rooted    as root on Linux: systemd-nspawn, addresses of their own, `systemctl` and `reboot` are real
    plain     without root: two folders, sshd and rsync on free loopback ports, a script that starts and stops

Beside the chain, like the sandbox: it may import errors, model and transports only. Called by `cli.lab_commands`.
"""
