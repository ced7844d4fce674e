"""One running cluster as the API sees it: its state, its types and their compiled schemas. Built by `service`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reconciler.sandbox import custom_resources
from reconciler.sandbox.catalog import Catalog
from reconciler.sandbox.registry import Registry
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.resources import DEFINITIONS
from reconciler.sandbox.schema import Node
from reconciler.sandbox.state import ClusterState


@dataclass(eq=False)
class Cluster:
    """name, version (`1.32.0`), bearer token and certificate authority (PEM) of a cluster, with what it serves."""

    name: str
    version: str
    token: str
    state: ClusterState
    catalog: Catalog
    authority: str = ""
    registry: Registry = field(default_factory=Registry)
    _nodes: dict[tuple[str, str, str], Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for stored in self.state.select(DEFINITIONS.resource):
            self.serve_definition(stored.value)

    def node(self, resource_type: ResourceType) -> Node:
        """The compiled schema of a type; `catalog.ready()` has been awaited."""
        place = (resource_type.group, resource_type.version, resource_type.plural)
        node = self._nodes.get(place)
        if node is None:
            if resource_type.custom:
                node = custom_resources.compile_version(
                    self.definition(resource_type), resource_type.version, self.catalog.compiler
                )
            else:
                node = self.catalog.compiler.reference(resource_type.component)
            self._nodes[place] = node
        return node

    def definition(self, resource_type: ResourceType) -> dict[str, Any]:
        """The CustomResourceDefinition behind a custom type."""
        stored = self.state.get(DEFINITIONS.key("", resource_type.qualified))
        if stored is None:
            raise KeyError(resource_type.qualified)
        return stored.value

    def serve_definition(self, value: dict[str, Any]) -> None:
        """Serve exactly the versions that a stored definition names."""
        spec = value["spec"]
        types = custom_resources.served_types(value)
        self._replace(spec["group"], spec["names"]["plural"], types)

    def withdraw_definition(self, value: dict[str, Any]) -> None:
        """Stop serving the types of a deleted definition."""
        self._replace(value["spec"]["group"], value["spec"]["names"]["plural"], [])

    def _replace(self, group: str, plural: str, types: list[ResourceType]) -> None:
        self.registry.replace_group_resource(group, plural, types)
        self._nodes = {place: node for place, node in self._nodes.items() if (place[0], place[2]) != (group, plural)}
