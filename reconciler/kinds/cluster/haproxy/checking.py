"""HAProxy's own opinion of a file, before it is installed. Called by `installing`."""

from __future__ import annotations

import re
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.kind import Context
from reconciler.kinds.cluster.haproxy.gateway import FILE_MARK, Gateway
from reconciler.kinds.cluster.providers.docker import engine_environment

_TOLD = re.compile(r"\[ALERT\]|\[WARNING\]|error|fatal", re.IGNORECASE)
_MOST = 20


def check(gateway: Gateway, candidate: Path, content: bytes, context: Context) -> None:
    """Ask HAProxy whether it would take the file. Raises TransientError("InvalidFile") with what it says.

    In a container it is told the content, since it need not see the folder that the file lies in.
    """
    text = content.decode("utf-8", "surrogateescape")
    argv, stdin = [gateway.program, "-c", "-f", str(candidate)], None
    if gateway.container:
        argv, stdin = ["docker", "exec", "-i", gateway.container, gateway.program, "-c", "-f", "/dev/stdin"], text
    if gateway.check:
        argv = [word.replace(FILE_MARK, str(candidate)) for word in gateway.check]
        stdin = None if argv != list(gateway.check) else text
    context.log(f"+ {' '.join(argv)}\n")
    environment = engine_environment()
    done = context.process.run(argv, timeout=gateway.timeout, stdin=stdin, env=environment, private=True)
    if done.returncode:
        said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if _TOLD.search(line))
        told = "\n".join(said.splitlines()[:_MOST]) or done.last_lines() or "(it said nothing)"
        told = told.replace(str(candidate), str(gateway.file)).replace("/dev/stdin", str(gateway.file))
        raise TransientError("InvalidFile", f"HAProxy does not take {gateway.file} with this change:\n{told}")
