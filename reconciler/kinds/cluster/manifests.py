"""Manifests: from what a spec holds (inline objects, names of files) to objects by key. Pure; called by `normalize`.

A key is `apiVersion/Kind/namespace/name`, without the namespace where the manifest names none. The values of Secrets
are wrapped, so that they are neither stored nor shown; see `secret_values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache
from typing import Any

from reconciler.errors import SpecError
from reconciler.model.secret import Secret, SpecFile
from reconciler.planning.secret_values import holds_secrets, wrapped
from reconciler.transports.yaml_text import load_yaml_documents

MAX_NODES = 100_000
MAX_DEPTH = 64
_TEXT = frozenset({str})
_SERVER_METADATA = frozenset(
    {"creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
_FIRST = ("Namespace", "CustomResourceDefinition")
_STAGES = (
    frozenset({"Namespace"}),
    frozenset({"CustomResourceDefinition"}),
    frozenset({"PriorityClass", "RuntimeClass", "StorageClass", "IngressClass", "ResourceQuota", "LimitRange"}),
    frozenset({"ServiceAccount", "Secret", "ConfigMap", "ClusterRole", "Role", "PersistentVolume"}),
)
"""What others cannot be made without, or not be made as they should."""
_LAST = frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})
"""What may refuse everything that comes after it."""

Object = dict[str, Any]


def objects_of(manifests: Sequence[Any], *, strict: bool = True) -> dict[str, Object]:
    """Every object of the manifests by key, in the order in which they are to be applied.

    strict False leaves out what is not usable: for the stored form of a spec, whose files have no text. Otherwise
    raises SpecError naming the manifest.
    """
    found: dict[str, Object] = {}
    places: dict[tuple[str, ...], str] = {}
    for index, manifest in enumerate(manifests):
        try:
            for where, checked in _objects(manifest, f"manifests[{index}]"):
                other = places.setdefault(_identity(checked), where)
                if other != where:
                    raise SpecError("DuplicateManifest", f"{where} and {other} are both {key_of(checked)}")
                found[key_of(checked)] = checked
        except SpecError:
            if strict:
                raise
    return dict(sorted(found.items(), key=lambda entry: _rank(entry[1])))


def stages_of(objects: Mapping[str, Object]) -> list[dict[str, Object]]:
    """The same in groups: what stands in a later one may need what stands in an earlier one, and nothing else does."""
    stages: list[dict[str, Object]] = [{} for _ in range(len(_STAGES) + 2)]
    for key, manifest in objects.items():
        kind = manifest["kind"]
        found = next((number for number, kinds in enumerate(_STAGES) if kind in kinds), len(_STAGES))
        stages[found + 1 if kind in _LAST else found][key] = manifest
    return [stage for stage in stages if stage]


def key_of(manifest: Mapping[str, Any]) -> str:
    """`apiVersion/Kind/namespace/name`, without the namespace where there is none."""
    metadata = manifest["metadata"]
    scope = [metadata["namespace"]] if metadata.get("namespace") else []
    return "/".join([manifest["apiVersion"], manifest["kind"], *scope, metadata["name"]])


def _identity(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = manifest["metadata"]
    group = manifest["apiVersion"].rpartition("/")[0]
    return (group, manifest["kind"], metadata.get("namespace") or "default", metadata["name"])


def _rank(manifest: Mapping[str, Any]) -> int:
    """Namespaces and CRDs first: others live in them. The rest keeps its order."""
    return _FIRST.index(manifest["kind"]) if manifest["kind"] in _FIRST else len(_FIRST)


def _objects(manifest: Any, where: str) -> Iterator[tuple[str, Object]]:
    """The objects in one entry of `manifests`, each with the words that name it. Raises SpecError at the first bad one.

    They are shared by all who ask for them, and never changed.
    """
    if not isinstance(manifest, SpecFile):
        yield from ((place, _checked(entry, place)) for place, entry in _flattened(manifest, where))
        return
    found, refusal = _in_file(manifest.text, f"{where} ({manifest.path})")
    yield from found
    if refusal is not None:
        raise SpecError(*refusal)


@lru_cache(maxsize=64)
def _in_file(text: str, where: str) -> tuple[list[tuple[str, Object]], tuple[str, str] | None]:
    """The objects of a file up to the first bad one, and why that is bad. Each look asks again for the same files."""
    found: list[tuple[str, Object]] = []
    try:
        for number, document in enumerate(_parsed(text, where), 1):
            if document is not None:
                places = _flattened(document, f"{where} document {number}")
                found.extend((place, _checked(entry, place)) for place, entry in places)
    except SpecError as error:
        return found, (error.reason, error.message)
    return found, None


def _flattened(document: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The objects of a `kind: List`, or the object itself."""
    if isinstance(document, Mapping) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        for index, entry in enumerate(document["items"]):
            yield f"{where} items[{index}]", entry
    else:
        yield where, document


def _parsed(text: str, where: str) -> list[Any]:
    import yaml  # noqa: PLC0415 - costs 20 ms, and only manifests in files need it

    loader = _manifest_loader(yaml)
    try:
        return load_yaml_documents(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or "cannot be read"
        raise SpecError("InvalidManifest", f"{where}{place} is not YAML: {reason}") from error


def _manifest_loader(yaml: Any) -> Any:
    """The safe loader in C, but with times left as text, as the API takes them."""
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = {
        first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
        for first, entries in base.yaml_implicit_resolvers.items()
    }
    return type("ManifestLoader", (base,), {"yaml_implicit_resolvers": resolvers})


def _checked(value: Any, where: str) -> Object:
    """The object as it is sent and compared, without what only a server sets. Raises SpecError."""
    if not isinstance(value, Mapping):
        raise SpecError("InvalidManifest", f"{where} is not an object")
    cleaned = _Cleaner(where).clean(value, 0)
    metadata = cleaned.get("metadata")
    for name, holder in (("apiVersion", cleaned), ("kind", cleaned), ("name", metadata)):
        text = holder.get(name) if isinstance(holder, dict) else None
        if not isinstance(text, str) or not text:
            advice = ": generateName makes a new object each time" if name == "name" and _generates(metadata) else ""
            field = "metadata.name" if name == "name" else name
            raise SpecError("InvalidManifest", f"{where} has no {field}{advice}")
    assert isinstance(metadata, dict)
    if not isinstance(metadata.get("namespace", ""), str):
        raise SpecError("InvalidManifest", f"{where}: metadata.namespace is not a string")
    kept = {name: member for name, member in metadata.items() if name not in _SERVER_METADATA}
    manifest = {**{name: member for name, member in cleaned.items() if name != "status"}, "metadata": kept}
    return wrapped(manifest, where) if holds_secrets(manifest) else manifest


def _generates(metadata: Any) -> bool:
    return isinstance(metadata, dict) and "generateName" in metadata


class _Cleaner:
    """Copies a value as plain JSON data without nulls, and counts: aliases may expand to very much."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._left = MAX_NODES

    def clean(self, value: Any, depth: int) -> Any:
        """The copy. Raises SpecError for what JSON cannot carry and for what is too large or too deep."""
        if value.__class__ is dict or isinstance(value, Mapping):
            self._check_names(value)
            self._count(value, depth)
            return {
                name: member if member.__class__ is str else self.clean(member, depth + 1)  # most are, by far
                for name, member in value.items()
                if member is not None
            }
        if isinstance(value, list | tuple):
            self._count(value, depth)
            return [self.clean(member, depth + 1) for member in value]
        if isinstance(value, str | int | Secret) or (isinstance(value, float) and value - value == 0):
            return value
        # not the value itself: `!!binary` is how some write a Secret's
        raise SpecError("InvalidManifest", f"{self._where} holds a {type(value).__name__} that JSON cannot carry")

    def _count(self, members: Sized, depth: int) -> None:
        self._left -= len(members)
        if self._left < 0 or depth >= MAX_DEPTH:
            limit = f"{MAX_NODES:,} values or {MAX_DEPTH} levels"
            raise SpecError("InvalidManifest", f"{self._where} has more than {limit}")

    def _check_names(self, names: Iterable[Any]) -> None:
        if set(map(type, names)) <= _TEXT:
            return
        for name in names:
            if not isinstance(name, str):
                raise SpecError(
                    "InvalidManifest", f"{self._where} has the key {name!r}, which is not a string: quote it"
                )
