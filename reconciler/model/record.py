"""What the store remembers of a resource, as the planner needs it. Read by `store.resources`, used by `planning`."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.resource import Resource, ResourceRef, State


@dataclass(frozen=True, slots=True)
class Record:
    """One remembered resource.

    resource: as it was last stored, secrets as their digests. applied: the desired state in normal form that was last
    applied and verified, None when none was. protected: kept here, so that deleting the file does not lift it.
    vanished: no source names it any more; vanished_why says where it went. suspended: why it is suspended by hand, ""
    when it is not. ready: its last Ready condition was True; observed_generation: which generation that speaks of.
    touched: steps ran for it since it was last known to be deleted, so something may be there even where nothing was
    verified. requested: the token of the request for a look that nobody has answered yet, "" for none.
    interrupted: the step at which a change stands that is to be continued, "" when there is none.
    """

    ref: ResourceRef
    resource: Resource
    applied: State = None
    protected: bool = False
    vanished: bool = False
    vanished_why: str = ""
    suspended: str = ""
    ready: bool = False
    touched: bool = False
    observed_generation: int = 0
    requested: str = ""
    interrupted: str = ""
