"""Repositories of projects: made or adopted at their forge, and filled from a template. Called by the steps.

Both may have run before, in part or in whole: each looks at what is there first. Nothing that somebody else has put
into a repository is ever overwritten unless the spec says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError, TerminalError, TransientError
from reconciler.kind import Context
from reconciler.kinds.project.forges import Forge, ForgeRepository, WantedRepository, forges
from reconciler.model.secret import Secret
from reconciler.transports.git_access import RemoteAccess
from reconciler.transports.git_objects import blob_id
from reconciler.transports.git_remote import BranchView, GitRemote, Published
from reconciler.transports.http_access import HttpAccess

if TYPE_CHECKING:
    from reconciler.kinds.project.spec import ProjectSpec, RepositorySpec
    from reconciler.transports.http import Http

_BY_FORGES = ("readme", "license", "licence", ".gitignore", ".gitattributes")
"""What files are called, up to their ending, that a forge puts into a repository that it makes."""
_SETTLING = 60.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """url: by which git reaches it. default_branch: "" while nobody knows. created: by this very call."""

    url: str
    full_name: str
    provider: str
    default_branch: str
    created: bool


def access_of(repository: RepositorySpec) -> RemoteAccess:
    """What git needs to reach it. A secret of which only the digest is left, its document being gone, is none."""
    auth = repository.auth
    if auth is None:
        return RemoteAccess()
    return RemoteAccess(auth.username, _secret(auth.token), _secret(auth.ssh_key), auth.known_hosts)


def remote_of(repository: RepositorySpec, context: Context) -> GitRemote:
    """The repository, as git sees it."""
    return context.git(repository.url, access_of(repository))


def ensure_repository(spec: ProjectSpec, context: Context) -> RepositoryFacts:
    """The repository is there and answers: it is made when that is asked for, one that exists is adopted as it is.

    Raises what `Forge` and `GitRemote` raise, TerminalError("NoToken") without one to make it with.
    """
    wanted = spec.repository
    if not wanted.create:
        remote_of(wanted, context).heads()
        return RepositoryFacts(wanted.url, wanted.name, wanted.provider, "", created=False)
    forge = forges().get(wanted.provider)
    if forge is None:
        raise TerminalError("CannotCreate", f"repository.create: provider {wanted.provider} has no API to make one by")
    http = _http(wanted, forge, context)
    found = forge.find(http, wanted.name)
    created = False
    if found is None:
        found, created = _made(forge, http, spec)
    if found.read_only:
        raise TerminalError("ReadOnly", f"{found.full_name} {found.read_only}: nothing can be pushed to it")
    if created:
        context.log(f"made {found.full_name}, {found.visibility}\n")
        _await_everywhere(forge, http, wanted, context)
    else:
        context.log(f"{found.full_name} exists already, {found.visibility}, and is taken over as it is\n")
    return RepositoryFacts(wanted.url, found.full_name, wanted.provider, found.default_branch, created)


def push_template(
    spec: ProjectSpec, files: Mapping[str, bytes], context: Context, pushed: Mapping[str, str] | None = None
) -> Published:
    """The files of the template are on the branch, by one commit; nothing is pushed when they are there already.

    pushed: the id of each file's content (`git_objects.blob_id`) as it was pushed for this project before, by path:
    such a file is ours as long as it has that content, is replaced, and removed when the template has it no longer;
    what else a repository has that we filled once is its developers', and what they changed of ours stays while the
    template has not changed there too. A README, LICENSE or .gitignore that is there stays. Raises
    TerminalError("RepositoryNotEmpty") when it would take the place of anything else; all of that unless
    `template.overwrite` is set.
    """
    known = dict(pushed or {})
    may_overwrite = spec.template is not None and spec.template.overwrite
    branch = spec.repository.branch
    remote = remote_of(spec.repository, context)
    seen = remote.view(branch)
    ours = files if may_overwrite else _without_theirs(seen, files, known)
    dropped = _dropped(seen, files, known)

    def check(view: BranchView | None) -> None:
        strange = () if view is None or may_overwrite else strange_files(view, ours, known)
        if strange:
            raise _not_ours(f"{spec.repository.name}: branch {branch}", strange, was_filled=bool(known))

    message = f"Fill the repository of {spec.slug} from its template"
    if seen is not None and known:
        message = f"Update what {spec.slug} has from its template"
    wanted: dict[str, bytes | None] = {**ours, **dict.fromkeys(dropped)}
    onto = seen.commit if seen is not None else None
    published = remote.publish(branch, wanted, message, onto=onto, check=check)
    context.log(f"{'pushed' if published.changed else 'nothing to push,'} {branch} is at {published.commit}\n")
    return published


def strange_files(view: BranchView, files: Mapping[str, bytes], pushed: Mapping[str, str]) -> tuple[str, ...]:
    """What the files must not be pushed over, or beside, sorted. Pure.

    In a repository that we never filled that is everything but what a forge puts there and what is as in the template;
    in one that we did, a file of the template that has neither its content nor what we pushed last.
    """

    def is_strange(path: str, content: str) -> bool:
        if content == pushed.get(path):
            return False
        if path in files:
            return content != blob_id(files[path], content)
        return not pushed and not _is_by_forge(path)

    return tuple(sorted(path for path, content in view.files.items() if is_strange(path, content)))


def _without_theirs(
    view: BranchView | None, files: Mapping[str, bytes], pushed: Mapping[str, str]
) -> Mapping[str, bytes]:
    """The files without those that a forge or a person has put there in another form: theirs stay."""
    there = view.files if view is not None else {}

    def is_theirs(path: str, content: bytes) -> bool:
        if path not in there or there[path] == pushed.get(path):
            return False
        return _is_by_forge(path) or pushed.get(path) == blob_id(content, there[path])

    return {path: content for path, content in files.items() if not is_theirs(path, content)}


def _not_ours(where: str, strange: Sequence[str], *, was_filled: bool) -> TerminalError:
    """The refusal to push over what somebody else has put there."""
    shown = ", ".join(strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
    if was_filled:
        message = f"{where} has other changes where the template has changed as well: {shown}. Put these right there"
    else:
        message = f"{where} has content that is not of the template: {shown}. Leave template out to take it as it is"
    return TerminalError("RepositoryNotEmpty", f"{message}, or set template.overwrite to push all the same")


def _dropped(view: BranchView | None, files: Mapping[str, bytes], pushed: Mapping[str, str]) -> list[str]:
    """What we pushed before, nobody changed since, and the template has no longer."""
    there = view.files if view is not None else {}
    return [path for path, content in pushed.items() if path not in files and there.get(path) == content]


def _is_by_forge(path: str) -> bool:
    name = path.lower()
    return "/" not in path and (name in _BY_FORGES or name.partition(".")[0] in _BY_FORGES)


def _http(wanted: RepositorySpec, forge: Forge, context: Context) -> Http:
    token = _secret(wanted.auth.token) if wanted.auth is not None else None
    if token is None:
        message = (
            f"repository.create: {wanted.provider} makes a repository only for a token: give repository.auth.token"
        )
        raise TerminalError("NoToken", message)
    return context.http(wanted.api_url, HttpAccess(token, forge.headers))


def _made(forge: Forge, http: Http, spec: ProjectSpec) -> tuple[ForgeRepository, bool]:
    """The repository, and whether it was made just now, not by somebody else at the same time."""
    wanted = WantedRepository(spec.repository.name, spec.visibility, spec.description)
    try:
        return forge.create(http, wanted), True
    except ReconcilerError as error:
        if error.reason != "NameTaken":
            raise
        found = forge.find(http, wanted.full_name)
        if found is None:
            hint = "the token may not see it: give it access, or choose another repository.name"
            raise TerminalError("NameTaken", f"{error.message}, but {hint}") from error
        return found, False


def _await_everywhere(forge: Forge, http: Http, wanted: RepositorySpec, context: Context) -> None:
    """Until the API and git both know what was just made: a forge has many servers."""
    remote = remote_of(wanted, context)
    _wait(context, lambda: "" if forge.find(http, wanted.name) is not None else f"the API does not know {wanted.name}")

    def answers() -> str:
        try:
            remote.heads()
        except TransientError as error:
            if error.reason not in ("NoSuchRepository", "AuthenticationFailed"):
                raise
            return error.message
        return ""

    _wait(context, answers)


def _wait(context: Context, trouble: Callable[[], str]) -> None:
    give_up = context.now() + _SETTLING
    pause = _FIRST_PAUSE
    while said := trouble():
        if context.now() >= give_up:
            raise TransientError("NotThereYet", f"{said}, {_SETTLING:g} s after it was made")
        context.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _secret(value: Any) -> Secret | None:
    return value if isinstance(value, Secret) else None
