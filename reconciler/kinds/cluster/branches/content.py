"""The files of a cluster's branch, rendered. Pure: the same spec gives the same bytes; called by `wanted`.

Only a fixed set of variables is filled in, once: what a value holds is never looked into again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.errors import SpecError
from reconciler.kinds.cluster.branches.whoami import chart_files
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.secret import SpecFile

DEFAULT_PATH = "deploy"
DEFAULT_INGRESS_CLASS = "traefik"
_VARIABLE = re.compile(r"\$?\$\{([A-Za-z]*)\}?")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+\Z")


def files_of(spec: ClusterSpec, branch: str, content: Mapping[str, Any]) -> dict[str, bytes]:
    """Content by path, sorted; empty when the files' text is not at hand. Raises SpecError.

    content: as in `spec.git`.
    """
    folder = content.get("path", DEFAULT_PATH)
    variables = variables_of(spec, branch, content)
    if "chart" in content:
        rendered = chart_files(spec.name, variables["host"], variables["ingressClass"])
    else:
        rendered = {}
        for name, file in content["files"].items():
            if not isinstance(file, SpecFile):
                return {}
            _check(name, content["files"], folder)
            rendered[name] = fill_in(file.text, variables)
    return {f"{folder}/{name}": text.encode() for name, text in sorted(rendered.items())}


def _check(name: str, names: Iterable[str], folder: str) -> None:
    """Raise SpecError for a path that leads elsewhere, or that is a folder of another one."""
    parts = name.split("/")
    if ".." in parts or ".git" in map(str.lower, parts):
        raise SpecError("BadGitPath", f"git.content.files: {name} leads out of {folder}")
    if inside := next((other for other in names if other.startswith(f"{name}/")), ""):
        raise SpecError("BadGitPath", f"git.content.files: {name} cannot be a file and the folder of {inside}")


def variables_of(spec: ClusterSpec, branch: str, content: Mapping[str, Any]) -> dict[str, str]:
    """What may be filled in. Raises SpecError for a host that is none once it is filled in."""
    known = {"cluster": spec.name, "branch": branch, "environment": spec.environment, "provider": spec.provider}
    host = fill_in(content.get("host", ""), known)
    if host and (len(host) > 253 or not _HOST.match(host)):
        raise SpecError("BadHost", f"git.content.host: {host} is not a host name")
    return {**known, "host": host, "ingressClass": content.get("ingressClass", DEFAULT_INGRESS_CLASS)}


def fill_in(text: str, variables: Mapping[str, str]) -> str:
    """`${name}` of a known name becomes its value, `$${` becomes `${`; whatever else stands there stays."""

    def value(found: re.Match[str]) -> str:
        written = found[0]
        if written.startswith("$$"):
            return written[1:]
        return variables.get(found[1], written) if written.endswith("}") else written

    return _VARIABLE.sub(value, text)
