"""The types that one cluster serves: the built-in ones, and those that its definitions add at run time.

Built by `cluster`; read by `discovery`, `openapi`, `requests` and `controllers`. What is not here is answered with 404.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.sandbox.resource_types import ResourceType, version_priority
from reconciler.sandbox.resources import BUILT_IN


class Registry:
    """The types of one cluster by (group, version, plural)."""

    def __init__(self, built_in: Iterable[ResourceType] = BUILT_IN) -> None:
        self._types = {(one.group, one.version, one.plural): one for one in built_in}
        self.revision = 0

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """The type at that path, None when it is not served."""
        return self._types.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """The type that documents of `apiVersion` and `kind` are of."""
        return next((one for one in self if one.kind == kind and one.api_version == api_version), None)

    def of_resource(self, resource: str) -> ResourceType | None:
        """A type whose objects are stored as `resource`."""
        return next((one for one in self if one.resource == resource), None)

    def replace_group_resource(self, group: str, plural: str, versions: Iterable[ResourceType]) -> None:
        """Serve exactly `versions` of one custom type (none: it is gone)."""
        kept = {key: one for key, one in self._types.items() if (one.group, one.plural) != (group, plural)}
        self._types = kept | {(one.group, one.version, one.plural): one for one in versions}
        self.revision += 1

    def group_versions(self) -> dict[str, list[str]]:
        """Versions by group, the preferred first; the core group is ""."""
        found: dict[str, list[str]] = {}
        for one in self:
            versions = found.setdefault(one.group, [])
            if one.version not in versions:
                versions.append(one.version)
        return {group: sorted(versions, key=version_priority) for group, versions in found.items()}

    def of(self, group: str, version: str) -> list[ResourceType]:
        """The types of one group and version."""
        return [one for one in self if one.group == group and one.version == version]

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._types.values())
