"""The programs of a control plane: where they are, which version they have, and how to get one that is missing.

Called by `control_plane` and `providers.envtest`. A folder is looked into before PATH: the one of the setting
`kinds.Cluster.envtest.assets`, else the one that `KUBEBUILDER_ASSETS` names.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import TerminalError
from reconciler.kind import Context

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLERS = "kube-controller-manager"
VARIABLE = "KUBEBUILDER_ASSETS"
SETTING = "kinds.Cluster.envtest.assets"
_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+\S*)")
_VERSION_TIMEOUT = 20.0


def find(settings: Mapping[str, Any], environ: Mapping[str, str], version: str = "") -> dict[str, str]:
    """Path by program. kube-controller-manager only if it lies beside kube-apiserver, so that both are of one release.

    settings: the kind's section. version: the one that is wanted, for the advice. Raises TerminalError naming every
    program that is missing, where it was looked for, and how to get it.
    """
    folder, named_by = _folder(settings, environ)
    found: dict[str, str] = {}
    for name in (ETCD, API_SERVER):
        program = (shutil.which(name, path=str(folder)) if folder else None) or shutil.which(name, path=environ["PATH"])
        if program is not None:
            found[name] = program
    missing = [name for name in (ETCD, API_SERVER) if name not in found]
    if missing:
        places = f"{folder} (named by {named_by}) and on PATH" if folder else f"on PATH; {VARIABLE} is not set"
        verb = "is" if len(missing) == 1 else "are"
        message = f"{' and '.join(missing)} {verb} missing: looked {'in ' if folder else ''}{places}"
        raise TerminalError("MissingTool", f"{message}\n{advice(version)}")
    beside = shutil.which(CONTROLLERS, path=str(Path(found[API_SERVER]).parent))
    return {**found, CONTROLLERS: beside} if beside else found


def advice(version: str = "") -> str:
    """What to do to get the programs. version: as in a spec, "" for the newest."""
    plain = version.removeprefix("v")
    chosen = f" {plain}" if plain.count(".") > 1 else f" {plain}.x" if plain else ""
    return (
        "get them with setup-envtest: go install sigs.k8s.io/controller-runtime/tools/setup-envtest@latest, then "
        f'export {VARIABLE}="$(setup-envtest use -p path{chosen})", or name that folder in the setting {SETTING}'
    )


def is_there(programs: Mapping[str, str]) -> bool:
    """Whether each of these paths can still be run."""
    return all(shutil.which(path) is not None for path in programs.values())


def version_of(program: str, context: Context) -> str:
    """What `--version` says, as 1.31.5. Raises TerminalError when it cannot be run on this machine."""
    done = context.process.run([program, "--version"], timeout=_VERSION_TIMEOUT)
    said = _VERSION.search(done.stdout)
    if done.returncode != 0 or said is None:
        told = done.last_lines(3) or f"exit code {done.returncode}"
        raise TerminalError("BadTool", f"{program} --version does not tell a version: {told}")
    return said[1]


def check_version(found: str, wanted: str, program: str) -> None:
    """Raises TerminalError when a program is not of the wanted version; 1.31 takes any 1.31.x, and "" all."""
    plain = wanted.removeprefix("v")
    if plain and found != plain and not found.startswith(f"{plain}."):
        message = f"spec.version is {wanted}, but {program} is {found}"
        raise TerminalError("AnotherVersion", f"{message}\n{advice(wanted)}")


def _folder(settings: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The folder to look into, and what names it."""
    section = settings.get("envtest") or {}
    named = section.get("assets") if isinstance(section, Mapping) else section
    if named is not None and not (isinstance(named, str) and named.startswith("/")):
        raise TerminalError("BadSetting", f"the setting {SETTING} has to be an absolute path, not {str(named)[:80]!r}")
    if named:
        return Path(named), f"the setting {SETTING}"
    return (Path(environ[VARIABLE]), VARIABLE) if environ.get(VARIABLE) else (None, "")
