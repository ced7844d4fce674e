"""The attachment `git`: the branch of a repository that follows the cluster. Found by `attachments`.

What it is about is in `branches`: `wanted` says what the branch holds, `publishing` makes and removes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import TerminalError
from reconciler.kind import Context, Step
from reconciler.kinds.cluster.attachments import Held
from reconciler.kinds.cluster.branches import publishing
from reconciler.kinds.cluster.branches.access import Access
from reconciler.kinds.cluster.branches.guards import reserved_by, why_reserved
from reconciler.kinds.cluster.branches.publishing import is_at, is_ours
from reconciler.kinds.cluster.branches.wanted import FIELD, WantedBranch
from reconciler.model.resource import Resource
from reconciler.transports.git_objects import blob_id


class GitBranch:
    """See `attachments.Attachment` for what each member is."""

    field = FIELD
    rank = 10
    needs_cluster = False
    ensure = Step("git", "Bring its git branch up to date", publishing.ensure, weight=6)
    remove = Step("remove-git", "Archive and delete its git branch", publishing.remove, weight=6)

    def wanted(self, resource: Resource) -> Any:
        """Place, owner, where the credentials come from, and the id of each file."""
        branch = WantedBranch.of(resource)
        return None if branch is None else branch.normal_form()

    def look(self, held: Held, context: Context) -> Any:
        """The same of the branch that is there, of the files that are wanted.

        A branch that was moved to another place is still where it was made: that is for `ensure` to see.
        """
        wanted, made = WantedBranch.of(held.resource), held.made
        if made is not None and (wanted is None or not is_at(made, wanted)):
            return _left(made, context)
        assert wanted is not None, "nothing is looked at that is neither wanted nor made"
        if why := why_reserved(wanted.branch, reserved_by(context.settings)):
            raise TerminalError("ReservedBranch", f"{wanted.repository}: branch {wanted.branch} {why}")
        remote = context.git(wanted.repository, wanted.access.for_git())
        head = remote.heads().get(wanted.branch)
        if head is None:
            return None
        owner = "ours" if made is not None and is_ours(made, remote, head) else "foreign"
        seen = {"repository": wanted.repository, "branch": wanted.branch, "owner": owner}
        words = made["access"] if made is not None else wanted.access.words()
        if made is not None and made["commit"] == head:
            return {**seen, "access": words, "files": made["files"]}
        view = remote.view(wanted.branch)
        if view is None:
            return None
        there = {path: _seen(content, view.files[path]) for path, content in wanted.files.items() if path in view.files}
        return {**seen, "access": words, "files": there}


def _left(made: Mapping[str, Any], context: Context) -> Any:
    """What is there of a branch that no document wants in this place."""
    remote = context.git(made["repository"], Access.remembered(made["access"], context).for_git())
    head = remote.heads().get(made["branch"])
    place = {"repository": made["repository"], "branch": made["branch"]}
    return None if head is None else {**place, "owner": "ours", "access": made["access"], "files": {}}


def _seen(content: bytes, found: str) -> str:
    """The id of a file that is there, as `wanted` writes it where the content is the same, whatever hash git uses."""
    return blob_id(content) if found == blob_id(content, found) else found


ATTACHMENT = GitBranch()
