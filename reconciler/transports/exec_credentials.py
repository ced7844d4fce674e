"""Credentials from a program that a kubeconfig names (`exec`), where the operator's settings allow that. For `https`.

The protocol is `client.authentication.k8s.io`: the program prints an ExecCredential. It runs like any other command,
with a deadline and a short environment, and never sees a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.errors import TerminalError, UnreachableError
from reconciler.model.secret import Secret
from reconciler.transports.kubeconfig import Access

TIMEOUT = 30.0
_DEFAULT_VERSION = "client.authentication.k8s.io/v1"


def with_program_credentials(access: Access) -> Access:
    """`access` with what its program gives; unchanged when it has none.

    Raises UnreachableError when the program fails, TerminalError when what it prints is no ExecCredential.
    """
    if access.program is None:
        return access
    status = _status(access.program)
    token, key = status.get("token"), status.get("clientKeyData")
    return replace(
        access,
        program=None,
        token=Secret(token, "exec") if token else access.token,
        certificate=status.get("clientCertificateData") or access.certificate,
        key=Secret(key, "exec") if key else access.key,
    )


def _status(program: Mapping[str, Any]) -> Mapping[str, str]:
    from reconciler.transports.process import ProcessRunner  # noqa: PLC0415 - hardly any kubeconfig names a program

    version = str(program.get("apiVersion") or _DEFAULT_VERSION)
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    given = {str(entry["name"]): str(entry["value"]) for entry in program.get("env") or ()}
    argv = [program["command"], *map(str, program.get("args") or ())]
    answer = ProcessRunner().run(argv, timeout=TIMEOUT, env={**given, "KUBERNETES_EXEC_INFO": json.dumps(asked)})
    if answer.returncode != 0:
        said = f"{argv[0]} ended with {answer.returncode}: {answer.stderr.strip()[-500:]}"
        raise UnreachableError("NoCredentials", said)
    try:
        status = json.loads(answer.stdout)["status"]
        found = {name: status[name] for name in ("token", "clientCertificateData", "clientKeyData") if name in status}
        if not found or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("no credential")
    except (ValueError, KeyError, TypeError) as error:
        raise TerminalError("BadKubeconfig", f"{argv[0]} does not print an ExecCredential") from error
    return found
