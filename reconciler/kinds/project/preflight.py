"""What a project needs, looked at before anything is written. Called by its first steps.

Each failure names the thing and what to do about it. Nothing is ever skipped: what could not be looked at is a failure
as well. Everything here may be put right without a change of the spec, so that it is tried again by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError, TransientError
from reconciler.kind import Context
from reconciler.kinds.project.objects import KUSTOMIZATION, SOURCE, Type
from reconciler.kinds.project.repositories import remote_of

if TYPE_CHECKING:
    from reconciler.kinds.project.spec import ProjectSpec
    from reconciler.transports.kube import KubeTransport

NEEDED = (SOURCE, KUSTOMIZATION)
_INSTALL = "install Flux 2.0 or later there, or set flux.install"
_ONLY_EMPTY = (
    "there is no such repository, or repository.auth may not see it; it would be created empty, without the folders of "
    "the environments: give the project a template, or make the repository and push them there"
)
_SHOWN = 5


def check_clusters(spec: ProjectSpec, context: Context) -> None:
    """The API of each cluster answers and serves Flux' types in the version that we write, unless we apply Flux there.

    Raises UnreachableError, or TransientError("NoFlux" | "OldFlux" | "NoSuchCluster"), naming the cluster.
    """
    for name in spec.clusters:
        try:
            with context.cluster(name) as api:
                if not (spec.flux.install and not serves_flux(api)):
                    check_served(api)
                context.log(f"cluster {name}: {api.server} answers\n")
        except ReconcilerError as error:  # the class stays: it says what happens next
            raise type(error)(error.reason, f"cluster {name}: {error.message}") from error


def serves_flux(api: KubeTransport) -> bool:
    """Whether an API serves all that we write. Raises UnreachableError when that cannot be known."""
    return all(_is_served(api, needed) for needed in NEEDED)


def check_served(api: KubeTransport) -> None:
    """Raises TransientError("NoFlux" | "OldFlux") naming what an API does not serve, and what it serves instead."""
    for needed in NEEDED:
        if not _is_served(api, needed):
            raise _not_served(api, needed)


def check_repository(spec: ProjectSpec, context: Context, files: Collection[str] = ()) -> None:
    """The repository answers, its branch is there, and so is the path of every environment.

    files: paths that are about to be pushed: with them the branch need not be there yet, and with `repository.create`
    the repository neither. Raises UnreachableError, or TransientError("NoBranch" | "NoPath" | what git said), naming
    the repository.
    """
    wanted = spec.repository
    present = _present(spec, context, may_be_new=bool(files))
    missing = missing_paths(spec, present | frozenset(files))
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        what = f"{wanted.url}: branch {wanted.branch} has no folder {shown}"
        raise TransientError("NoPath", f"{what}: push it there, or set the environment's path or a template")
    context.log(f"{wanted.url}: branch {wanted.branch} has the folder of every environment\n")


def missing_paths(spec: ProjectSpec, files: Collection[str]) -> list[str]:
    """The environments' paths that are no folder among these files, in the spec's order. Pure."""
    folders = {parent for path in files for parent in _folders(path)}
    wanted = dict.fromkeys(one.path for one in spec.environments)
    return [path for path in wanted if path.removeprefix("./").rstrip("/") not in {*folders, "."}]


def _folders(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _is_served(api: KubeTransport, needed: Type) -> bool:
    answer = api.get(f"/apis/{needed.api_version}") or {}
    return any(entry.get("kind") == needed.kind for entry in answer.get("resources") or ())


def _not_served(api: KubeTransport, needed: Type) -> TransientError:
    group, _, version = needed.api_version.partition("/")
    answer = api.get(f"/apis/{group}") or {}
    others = [str(entry.get("version")) for entry in answer.get("versions") or () if entry.get("version") != version]
    what = f"{needed.kind} of {needed.api_version}"
    if others:
        message = f"{api.server} does not serve {what}, only {', '.join(others)}: upgrade Flux there to 2.0 or later"
        return TransientError("OldFlux", message)
    return TransientError("NoFlux", f"{api.server} does not serve {what}: {_INSTALL}")


def _present(spec: ProjectSpec, context: Context, *, may_be_new: bool) -> frozenset[str]:
    """The files of the branch. None where it, or the repository, is only to be made."""
    wanted = spec.repository
    remote = remote_of(wanted, context)
    try:
        seen = remote.view(wanted.branch)  # says as well whether the branch is there: one question less
    except TransientError as error:
        if error.reason != "NoSuchRepository" or not wanted.create:
            raise
        if may_be_new:
            return frozenset()
        if spec.template is not None:
            raise
        raise TransientError(error.reason, f"{wanted.url}: {_ONLY_EMPTY}") from error
    if seen is not None:
        return frozenset(seen.files)
    if may_be_new:
        return frozenset()
    branches = remote.heads()
    there = ", ".join(sorted(branches)[:_SHOWN]) or "none"
    what = f"{wanted.url}: there is no branch {wanted.branch}, only {there}"
    raise TransientError("NoBranch", f"{what}: push it, or set repository.branch or a template")
