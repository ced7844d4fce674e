"""Making, keeping and removing the branch of a cluster: the steps of the attachment `git`, and what `comparing` prunes.

What was made is noted before it can be there: with the ids of its files as long as it is not known to have been pushed
(so that a branch that we find after a crash is known to be ours by what it holds), then with its commit. A branch that
the notes do not say to be ours is never touched. Nothing is deleted before the remote shows the tag that keeps it, and
then only while the branch is still at the commit that was tagged.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import SpecError, TerminalError, TransientError
from reconciler.kind import Context, Outputs
from reconciler.kinds.cluster import made
from reconciler.kinds.cluster.branches.access import Access
from reconciler.kinds.cluster.branches.guards import archive_prefix, archive_tag, reserved_by, why_reserved
from reconciler.kinds.cluster.branches.wanted import FIELD, WantedBranch
from reconciler.kinds.cluster.changing import name_of, wanted_of
from reconciler.transports.git_command import GitError

if TYPE_CHECKING:
    from reconciler.transports.git_remote import GitRemote

TRIES = 5
_FIRST_PAUSE = 0.5
_MOVED = frozenset({"BranchMoved", "TagExists"})

Note = Mapping[str, Any]
"""What is noted of a branch: repository, branch, access (words), files (ids), commit (None before it is known)."""


def is_at(note: Note, wanted: WantedBranch) -> bool:
    """Whether what was made is where it is wanted."""
    return bool(note["repository"] == wanted.repository and note["branch"] == wanted.branch)


def is_ours(note: Note, remote: GitRemote, head: str) -> bool:
    """Whether the branch that is there is the one of the note. One without a commit may never have been pushed."""
    if note["commit"] is not None:
        return True
    view = remote.view(note["branch"])
    return view is not None and view.commit == head and dict(view.files) == note["files"]


def ensure(context: Context) -> Outputs | None:
    """The branch is there with its files, by one commit if anything differs, and is noted as ours."""
    assert context.resource is not None
    wanted, cluster = WantedBranch.of(context.resource), name_of(context)
    assert wanted is not None, "planned only for a spec that asks for one"
    if why := why_reserved(wanted.branch, reserved_by(context.settings)):
        raise TerminalError("ReservedBranch", f"{wanted.repository}: branch {wanted.branch} {why}")
    note = made.read(context.records, cluster, FIELD)
    if note is not None and not is_at(note, wanted):
        discard(context, cluster, note)
        note = None
    files = _ours_to_write(context, wanted)
    remote = context.git(wanted.repository, wanted.access.for_git())
    head = remote.heads().get(wanted.branch)
    if head is not None and not (note is not None and is_ours(note, remote, head)):
        _take_over(context, wanted, head)
    place = {"repository": wanted.repository, "branch": wanted.branch, "access": wanted.access.words()}
    ids = {path: file for path, file in wanted.ids.items() if path in files}
    _claim(context, cluster, {**place, "files": ids, "commit": head})
    dropped = dict.fromkeys(path for path in (note or {}).get("files", {}) if path not in wanted.files)
    done = remote.publish(
        wanted.branch, {**dropped, **files}, f"Set up branch {wanted.branch} for cluster {cluster}\n", onto=head
    )
    made.note(context, cluster, FIELD, {**place, "files": ids, "commit": done.commit})
    context.log(f"branch {wanted.branch} {'is now' if done.changed else 'was already'} at {done.commit}\n")
    return {"commit": done.commit, "changed": done.changed}


def _claim(context: Context, cluster: str, note: Note) -> None:
    """Note what is about to be made. Raises TerminalError when it is the branch of another cluster.

    Two that ask at once do so in one transaction each, so that one of them sees the other.
    """
    with context.records.transaction() as records:
        for other, theirs in made.of_field(records, FIELD).items():
            if other != cluster and (theirs["repository"], theirs["branch"]) == (note["repository"], note["branch"]):
                message = f"{note['repository']}: branch {note['branch']} is the one of Cluster/{other}"
                raise TerminalError("BranchTaken", message)
        made.put(records, (cluster, FIELD), note, context.now())


def remove(context: Context) -> Outputs | None:
    """The branch that was made is archived and gone; where none was made, nothing is touched."""
    cluster = name_of(context)
    note = made.read(context.records, cluster, FIELD)
    if note is None:
        context.log("the records name no branch that we made for it\n")
        return {"archived": None}
    return {"archived": discard(context, cluster, note)}


def discard(context: Context, cluster: str, note: Note) -> str | None:
    """Archive the branch of a note, delete it, see that it is gone and forget it. Returns the tag, None without one.

    A branch that moves meanwhile is archived anew, five times. One that turns out not to be ours stays.
    """
    branch = note["branch"]
    if why := why_reserved(branch, reserved_by(context.settings)):
        context.alarm("BranchKept", f"{note['repository']}: branch {branch} of {cluster} {why}; it stays")
        made.forget(context, cluster, FIELD)
        return None
    remote = context.git(note["repository"], _access(context, note).for_git())
    for number in range(TRIES):
        if number:
            context.sleep(_FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.8, 1.2))  # noqa: S311 - a pause
        head = remote.heads().get(branch)
        if head is None or not is_ours(note, remote, head):
            context.log(f"branch {branch} is {'not there' if head is None else 'not the one that we made; it stays'}\n")
            made.forget(context, cluster, FIELD)
            return None
        try:
            tag = _archived(context, remote, branch, head)
            remote.delete_branch(branch, head)
        except GitError as error:
            if error.reason not in _MOVED:
                raise
            context.log(f"{error.message}\n")
            continue
        if branch in remote.heads():
            raise TransientError("NotDeleted", f"{remote.url}: branch {branch} is still there")
        made.forget(context, cluster, FIELD)
        context.log(f"branch {branch} is deleted; {tag} keeps {head}\n")
        return tag
    message = f"{remote.url}: branch {branch} has moved during each of {TRIES} tries to archive and delete it"
    raise TransientError("BranchMoved", message)


def _archived(context: Context, remote: GitRemote, branch: str, head: str) -> str:
    """A tag that the remote shows on this commit: the one of an earlier try, or a new one."""
    kept = remote.tags(archive_prefix(branch))
    for tag in sorted(kept):
        if kept[tag] == head:
            return tag
    tag = archive_tag(branch, context.now())
    archived = remote.archive(branch, tag)
    if archived != head:
        raise GitError("BranchMoved", f"{remote.url}: branch {branch} moved while it was archived")
    return tag


def _ours_to_write(context: Context, wanted: WantedBranch) -> dict[str, bytes]:
    """The files, without those that `lifecycle.ignore` leaves to others."""
    after: Mapping[str, Any] = wanted_of(context)[FIELD].get("files", {})
    ids = wanted.ids
    return {path: content for path, content in wanted.files.items() if after.get(path) == ids[path]}


def _take_over(context: Context, wanted: WantedBranch, head: str) -> None:
    if not wanted.adopt:
        message = f"{wanted.repository} has a branch {wanted.branch} that we did not make; spec.git.adopt takes it over"
        raise TerminalError("ForeignBranch", message)
    context.log(f"taking over branch {wanted.branch} at {head}\n")


def _access(context: Context, note: Note) -> Access:
    """The credentials of the document while it has them, else those that the note remembers."""
    try:
        wanted = WantedBranch.of(context.resource) if context.resource is not None else None
    except SpecError:
        wanted = None
    if wanted is not None and wanted.repository == note["repository"] and wanted.access.is_whole:
        return wanted.access
    return Access.remembered(note["access"], context)
