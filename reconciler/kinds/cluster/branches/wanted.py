"""`spec.git` of a cluster as values with types and defaults. Pure; called by everything about branches.

A spec may be in its stored form (a secret as its digest, a file without its text) when its document is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import SpecError
from reconciler.kinds.cluster.branches.access import Access
from reconciler.kinds.cluster.branches.content import files_of
from reconciler.kinds.cluster.branches.guards import why_reserved
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.resource import Resource
from reconciler.transports.git_access import checked_place
from reconciler.transports.git_objects import blob_id

FIELD = "git"


@dataclass(frozen=True, slots=True)
class WantedBranch:
    """A branch as a document wants it. files: content by path; empty when their text is not at hand.

    adopt: whether one that is there already may be taken over.
    """

    repository: str
    branch: str
    adopt: bool
    access: Access
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, resource: Resource) -> WantedBranch | None:
        """None when the spec asks for none, and for a management cluster. Raises SpecError, for a reserved name too."""
        written = resource.spec.get(FIELD)
        spec = ClusterSpec.of(resource)
        if written is None or spec.role == "management":
            return None
        branch = written.get("branch", spec.name)
        if why := why_reserved(branch):
            raise SpecError("ReservedBranch", f"git.branch: {branch} {why}")
        place = checked_place(written["repository"], branch)
        access = Access.of(written.get("auth"))
        files = files_of(spec, branch, written["content"])
        return cls(place.url, branch, written.get("adopt", False), access, files)

    @property
    def ids(self) -> dict[str, str]:
        """The id that git gives to each file's content."""
        return {path: blob_id(content) for path, content in self.files.items()}

    def normal_form(self) -> dict[str, Any]:
        """As looking reports it. owner: whether the records say that we made the branch."""
        place = {"repository": self.repository, "branch": self.branch}
        return {**place, "owner": "ours", "access": self.access.words(), "files": self.ids}
