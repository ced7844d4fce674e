"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386), pure. Called by `verbs`.

Both return a new value and leave their arguments alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import SpecError

MOST_OPERATIONS = 10_000
_MOST_COPIED = 3 * 1024 * 1024


class PatchError(SpecError):
    """The patch is malformed (`BadPatch`), does not fit the object (`PatchFailed`) or is too much (`PatchTooLarge`)."""


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` with `patch` merged in: null deletes a key, lists are replaced."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(document: Any, operations: Any) -> Any:
    """`document` after every operation, all or nothing. PatchError when one is malformed or fails."""
    if not isinstance(operations, Sequence) or isinstance(operations, (str, bytes)):
        raise PatchError("BadPatch", "a JSON patch is a list of operations")
    if len(operations) > MOST_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(operations)}"
        raise PatchError("PatchTooLarge", message)
    patched = copy.deepcopy(document)
    copied = 0
    for operation in operations:
        if isinstance(operation, Mapping) and operation.get("op") == "copy":
            copied += _copied_size(patched, operation)
        if copied > _MOST_COPIED:
            raise PatchError("PatchTooLarge", f"the copies of a JSON patch are larger than {_MOST_COPIED} bytes")
        patched = _apply_operation(patched, operation)
    return patched


def _copied_size(document: Any, operation: Mapping[str, Any]) -> int:
    origin = operation.get("from")
    if not isinstance(origin, str):
        return 0
    try:
        return len(json.dumps(_look_up(document, _split(origin))))
    except RecursionError as error:
        raise PatchError("PatchFailed", "the object would be nested too deeply") from error


def _apply_operation(document: Any, operation: Any) -> Any:
    if not isinstance(operation, Mapping) or not isinstance(operation.get("path"), str):
        raise PatchError("BadPatch", "an operation of a JSON patch has op and path")
    verb, path = operation.get("op"), operation["path"]
    if verb in ("add", "replace", "test") and "value" not in operation:
        raise PatchError("BadPatch", f"operation {verb} on {path} has no value")
    if verb == "add":
        return _add(document, _split(path), copy.deepcopy(operation["value"]))
    if verb == "remove":
        return _remove(document, _split(path))[0]
    if verb == "replace":
        _look_up(document, _split(path))
        return _replace(document, _split(path), copy.deepcopy(operation["value"]))
    if verb == "test":
        if not same_json(_look_up(document, _split(path)), operation["value"]):
            raise PatchError("PatchFailed", f"testing value {path} failed")
        return document
    if verb in ("move", "copy"):
        return _move_or_copy(document, verb, operation)
    raise PatchError("BadPatch", f"unknown operation of a JSON patch: {verb}")


def _move_or_copy(document: Any, verb: str, operation: Mapping[str, Any]) -> Any:
    origin = operation.get("from")
    if not isinstance(origin, str):
        raise PatchError("BadPatch", f"operation {verb} has no from")
    source, target = _split(origin), _split(operation["path"])
    if verb == "copy":
        return _add(document, target, copy.deepcopy(_look_up(document, source)))
    if target[: len(source)] == source and target != source:
        raise PatchError("PatchFailed", f"{origin} cannot be moved into itself")
    document, value = _remove(document, source)
    return _add(document, target, value)


def same_json(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1, 1.0 is 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same_json(one, other) for one, other in zip(left, right, strict=True))
    return bool(left == right)


def _split(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise PatchError("BadPatch", f"a path of a JSON patch starts with a slash: {path!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _position(container: list[Any], part: str, *, inserting: bool) -> int:
    if part == "-" and inserting:
        return len(container)
    if not part.isascii() or not part.isdigit() or (len(part) > 1 and part[0] == "0") or len(part) > 9:
        raise PatchError("PatchFailed", f"{part!r} is no index of a list")
    index = int(part)
    if index > len(container) or (index == len(container) and not inserting):
        raise PatchError("PatchFailed", f"index {index} is outside a list of {len(container)}")
    return index


def _step(container: Any, part: str) -> Any:
    if isinstance(container, dict):
        if part not in container:
            raise PatchError("PatchFailed", f"there is no {part!r}")
        return container[part]
    if isinstance(container, list):
        return container[_position(container, part, inserting=False)]
    raise PatchError("PatchFailed", f"{part!r} lies inside a value that is neither an object nor a list")


def _look_up(document: Any, parts: list[str]) -> Any:
    for part in parts:
        document = _step(document, part)
    return document


def _add(document: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    container = _look_up(document, parts[:-1])
    if isinstance(container, dict):
        container[parts[-1]] = value
    elif isinstance(container, list):
        container.insert(_position(container, parts[-1], inserting=True), value)
    else:
        raise PatchError("PatchFailed", f"{parts[-1]!r} lies inside a value that is neither an object nor a list")
    return document


def _replace(document: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    container = _look_up(document, parts[:-1])
    if isinstance(container, dict):
        container[parts[-1]] = value
    else:
        container[_position(container, parts[-1], inserting=False)] = value
    return document


def _remove(document: Any, parts: list[str]) -> tuple[Any, Any]:
    if not parts:
        return None, document
    container = _look_up(document, parts[:-1])
    value = _step(container, parts[-1])
    if isinstance(container, dict):
        del container[parts[-1]]
    else:
        del container[_position(container, parts[-1], inserting=False)]
    return document, value
