"""The kind `NodePair`: what the engine asks of it. The doing is in `steps/`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Records, Step
from reconciler.model.finding import Finding
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State

NOT_DUE = "not due"
CURRENT = "current"


class NodePairKind:
    """See `kind.Kind` for what each member is; README.md for what is compared."""

    name = "NodePair"
    recovery: Literal["replan", "continue"] = "continue"
    steps_version = 1

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """schema.json."""
        schema: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text("utf-8"))
        return schema

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """Nothing that we make has to be there first."""
        return ()

    def target(self, resource: Resource) -> str:
        """The pair itself: a node that hangs delays no other pair."""
        return f"pair/{resource.ref.name}"

    def normalize(self, resource: Resource) -> State:
        """The desired state; `looking` reports the same fields."""
        from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec  # noqa: PLC0415 - 20 ms, not for who has no pair

        spec = NodePairSpec.of(resource)
        wanted: dict[str, Any] = {"versions": dict.fromkeys(ROLES, spec.version)}
        if spec.configuration is not None:
            wanted["configuration"] = {path: dict.fromkeys(ROLES, CURRENT) for path in spec.configuration.new}
            wanted["locks"] = []
        if spec.rsync is not None:
            wanted["rsync"] = {"resume": NOT_DUE}
        return wanted

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at both nodes of each pair at once."""
        from reconciler.kinds.node_pair.looking import look_at  # noqa: PLC0415 - what reaches nodes, not for `validate`

        return {resource.ref: look_at(resource, context) for resource in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        """The steps that the change needs."""
        from reconciler.kinds.node_pair.plan_steps import steps_of  # noqa: PLC0415 - likewise

        return steps_of(change)

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        """Record how rsync stands on both nodes."""
        from reconciler.kinds.node_pair.monitor import seen  # noqa: PLC0415 - likewise

        seen(records, resource, observation)

    def checks(self, resource: Resource, context: Context) -> Sequence[Finding]:
        """Whether both nodes are as an upgrade needs them."""
        from reconciler.kinds.node_pair.checkup import check_up  # noqa: PLC0415 - likewise

        return check_up(resource, context)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """What the rows say, for people."""
        from reconciler.kinds.node_pair.monitor import facts  # noqa: PLC0415 - likewise

        return facts(records)
