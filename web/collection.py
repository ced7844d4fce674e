"""The resources of one kind as the API lists and takes them. `collection_api` makes the routes; kinds differ little.

What a kind's collection says beside this stands in a subclass: `clusters_api`, `projects_api`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import abort
from sqlalchemy import Connection, select

from reconciler.errors import SpecError
from reconciler.loading.documents import FindingsError
from reconciler.loading.messages import Finding
from reconciler.model.resource import ResourceRef
from reconciler.store import views
from reconciler.store.tables import resources, statuses
from reconciler.store.views.base import mask
from web.answers import writer
from web.bodies import json_body
from web.recorded import facts_of

Json = dict[str, Any]
FIELDS = frozenset({"apiVersion", "kind", "metadata", "lifecycle", "spec"})
_WANTED = ("name", "owner", "labels", "lifecycle", "spec", "generation", "vanished_at", "created_at", "updated_at")
_STATUS = ("ready", "reason", "message", "checked_at", "applied_at")


@dataclass(frozen=True, slots=True)
class Collection:
    """A kind under the API. plural: the last part of its address, and the name of its list."""

    plural: str
    kind: str

    def ref(self, name: str) -> ResourceRef:
        """The reference of one of them; 404 for what none can be called."""
        try:
            return ResourceRef.parse(f"{self.kind}/{name}")
        except SpecError:
            abort(404, f"there is no {self.kind} called {name[:63]!r}")

    def listed(self, connection: Connection) -> list[Json]:
        """All that somebody wants, by name."""
        facts = facts_of(connection, self.kind)
        return [_shown(row, facts.get(row["name"], {})) for row in self._rows(connection)]

    def one(self, connection: Connection, name: str) -> Json | None:
        """One of them, or None."""
        row = next(iter(self._rows(connection, name)), None)
        return _shown(row, facts_of(connection, self.kind).get(name, {})) if row is not None else None

    def found(self, connection: Connection, name: str) -> Json:
        """One of them; 404 where there is none."""
        shown = self.one(connection, self.ref(name).name)
        if shown is None:
            abort(404, f"there is no {self.kind} called {name[:63]}")
        return shown

    def status(self, connection: Connection, name: str) -> Json:
        """How one stands, with its conditions and its newest task; 404 where there is none."""
        shown = self.found(connection, name)
        detail = views.resource_detail(connection, self.ref(name))
        newest = views.list_tasks(connection, limit=1, ref=self.ref(name))
        return self.standing(shown) | {
            "conditions": [condition.to_json() for condition in detail.conditions] if detail is not None else [],
            "task": newest[0].to_json() if newest else None,
        }

    def standing(self, shown: Json) -> Json:
        """What of one says how it stands."""
        return {name: shown[name] for name in ("name", "desiredState", "ready", "reason", "message", "recorded")}

    def create(self, actor: str) -> Any:
        """Write down the resource that the request's body describes. Raises what `Writer.create` raises."""
        return writer().create(self.document(json_body(FIELDS)), actor)

    def document(self, body: Json) -> Json:
        """The document that a body is: what is always the same may be left out."""
        if body.setdefault("kind", self.kind) != self.kind:
            raise FindingsError([Finding(("kind",), f"expected {self.kind}")], None)
        body.setdefault("spec", {})
        return body

    def _rows(self, connection: Connection, name: str | None = None) -> list[Mapping[str, Any]]:
        same = (resources.c.kind == statuses.c.kind) & (resources.c.name == statuses.c.name)
        columns = (*(resources.c[column] for column in _WANTED), *(statuses.c[column] for column in _STATUS))
        chosen = select(*columns).select_from(resources.outerjoin(statuses, same)).where(resources.c.kind == self.kind)
        if name is not None:
            chosen = chosen.where(resources.c.name == name)
        return [dict(row) for row in connection.execute(chosen.order_by(resources.c.name)).mappings()]


def _shown(row: Mapping[str, Any], facts: Mapping[str, Any]) -> Json:
    lifecycle = json.loads(row["lifecycle"])
    return {
        "name": row["name"],
        "desiredState": lifecycle.get("state", "present"),
        "ready": row["ready"] or "Unknown",
        "reason": row["reason"] or "",
        "message": row["message"] or "",
        "labels": json.loads(row["labels"]),
        "spec": mask(json.loads(row["spec"])),
        "recorded": dict(facts),
        "owner": row["owner"],
        "generation": row["generation"],
        "vanished": row["vanished_at"] is not None,
        "checkedAt": row["checked_at"],
        "appliedAt": row["applied_at"],
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
    }
