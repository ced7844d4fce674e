"""All branches of the repositories that records or documents name, against the clusters. Called by `cluster branches`.

Records decide, never names: a leftover is a branch that the records say we made, for a cluster that has no record and
that no document wants. Everything else that no cluster has is somebody's, and stays. Where no business cluster is known
at all there is nothing to compare with, and nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reconciler.errors import BlockedError, ReconcilerError, SpecError
from reconciler.kind import Context
from reconciler.kinds.cluster import made, rows
from reconciler.kinds.cluster.branches.access import Access
from reconciler.kinds.cluster.branches.guards import reserved_by, why_reserved
from reconciler.kinds.cluster.branches.publishing import discard
from reconciler.kinds.cluster.branches.wanted import FIELD, WantedBranch
from reconciler.model.resource import Resource

Standing = Literal["kept", "missing", "leftover", "reserved", "foreign"]
"""kept: a cluster has it. missing: a cluster should have it. foreign: not made by us."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a repository. cluster: whose it is, "" for nobody's. commit: "" when it is missing."""

    repository: str
    name: str
    standing: Standing
    cluster: str = ""
    commit: str = ""


@dataclass(slots=True)
class Compared:
    """branches: by repository and name. unseen: why a repository could not be looked at."""

    branches: list[Branch] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)

    @property
    def leftovers(self) -> list[Branch]:
        """What may be pruned."""
        return [branch for branch in self.branches if branch.standing == "leftover"]


@dataclass(slots=True)
class _Repository:
    """A repository as we know it. access: None until somebody says how it is reached. owners: clusters by branch."""

    access: Access | None = None
    words: Mapping[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    wishes: dict[str, str] = field(default_factory=dict)


def compare(resources: Iterable[Resource], context: Context) -> Compared:
    """Look at every repository. resources: the clusters that documents want. Reads only."""
    wanted = {resource.ref.name: branch for resource in resources if (branch := _wanted(resource)) is not None}
    living = set(wanted) | {row["name"] for row in context.records.list(rows.TABLE)}
    compared = Compared()
    for url, repository in sorted(_repositories(wanted, context).items()):
        try:
            access = repository.access or Access.remembered(repository.words, context)
            heads = context.git(url, access.for_git()).heads()
        except ReconcilerError as error:
            compared.unseen[url] = error.message
            continue
        compared.branches += _branches(url, repository, heads, living, reserved_by(context.settings))
    return compared


def require_business_cluster(context: Context) -> None:
    """Raise BlockedError when the records know no business cluster: then every branch would look like a leftover."""
    if not any(row["role"] != "management" for row in context.records.list(rows.TABLE)):
        message = "no business cluster is recorded, so there is nothing to compare branches with; none is deleted"
        raise BlockedError("NoBusinessClusters", message)


def prune(branch: Branch, context: Context) -> str | None:
    """Archive and delete a leftover, under the lease of the cluster that it was made for. Returns the tag, if any.

    Everything is asked again: whether there are clusters, whether this one is still gone, whether the branch is ours.
    """
    require_business_cluster(context)
    note = made.read(context.records, branch.cluster, FIELD)
    if rows.read(context.records, branch.cluster) is not None or note is None:
        return None
    if (note["repository"], note["branch"]) != (branch.repository, branch.name):
        return None
    return discard(context, branch.cluster, note)


def _wanted(resource: Resource) -> WantedBranch | None:
    """What a document wants; one that is wrong in this place wants nothing that could be looked at."""
    if resource.lifecycle.state == "absent":
        return None
    try:
        return WantedBranch.of(resource)
    except SpecError:
        return None


def _repositories(wanted: Mapping[str, WantedBranch], context: Context) -> dict[str, _Repository]:
    found: dict[str, _Repository] = {}
    for cluster, note in made.of_field(context.records, FIELD).items():
        repository = found.setdefault(note["repository"], _Repository())
        repository.words = note["access"]
        repository.notes[note["branch"]] = cluster
    for cluster, branch in wanted.items():
        repository = found.setdefault(branch.repository, _Repository())
        repository.wishes[branch.branch] = cluster
        if branch.access.is_whole:
            repository.access = branch.access
    return found


def _branches(
    url: str, repository: _Repository, heads: Mapping[str, str], living: set[str], also: Sequence[str]
) -> Iterable[Branch]:
    for name in sorted({*heads, *repository.wishes, *repository.notes}):
        cluster = repository.notes.get(name) or repository.wishes.get(name, "")
        standing: Standing
        if why_reserved(name, also):
            standing = "reserved"
        elif name not in heads:
            standing = "missing"
        elif name not in repository.notes:
            standing = "foreign"
        else:
            standing = "kept" if cluster in living else "leftover"
        if standing != "missing" or cluster in living:
            yield Branch(url, name, standing, cluster, heads.get(name, ""))
