"""From the bytes of a request to plain JSON values: JSON, YAML and protobuf, whatever was sent within fixed bounds.

Called by `api`. What comes out has text keys, finite numbers, encodable text and at most DEEPEST levels, so nothing
behind it has to be afraid of a body.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from reconciler.sandbox import protobuf, statuses
from reconciler.sandbox.decoding import DEEPEST
from reconciler.sandbox.requests import YAML_TYPES, Request

_MOST_VALUES = 500_000  # in a YAML body, where an alias stands for any number of values


def parse_body(request: Request, component: str, components: Mapping[str, Any]) -> Any:
    """The body as JSON values; YAML and protobuf where the type says so. ApiError 400, 415.

    component: the schema that a protobuf body follows.
    """
    if not request.body.strip():
        return None
    media_type = request.media_type
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(request.body, component, components)
    if media_type and not media_type.endswith("json") and media_type not in (*YAML_TYPES, "*/*"):
        raise statuses.unsupported_media_type(media_type, ["application/json", "application/yaml"])
    try:
        return _parse_json(request.body)
    except (ValueError, RecursionError) as error:
        if media_type not in YAML_TYPES:
            raise statuses.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    return _parse_yaml(request.body)


def _parse_json(body: bytes) -> Any:
    value = json.loads(body, parse_constant=_refuse_constant)
    if b"\\u" in body:
        value = _encodable(value)
    if body.count(b"{") + body.count(b"[") > DEEPEST:
        value = _Walk().cleaned(value, 0)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _encodable(value: Any) -> Any:
    """`value` with halves of surrogate pairs, which no UTF-8 can carry, replaced as the API server does."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    return value


def _parse_yaml(body: bytes) -> Any:
    import yaml  # noqa: PLC0415 - most clients send JSON, the parser costs 20 ms

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = yaml.load(body, Loader=loader)  # noqa: S506 - the C twin of SafeLoader
        return _encodable(_Walk().cleaned(value, 0))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise statuses.bad_request(f"error parsing YAML: {error}") from error


class _Walk:
    """One pass over a parsed body, with a budget."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def cleaned(self, value: Any, depth: int) -> Any:
        """`value` as plain JSON. ValueError when it is too deep, too much, or has values that JSON cannot carry."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {_MOST_VALUES} values")
        if depth > DEEPEST:
            raise ValueError(f"exceeded max depth: it is nested more than {DEEPEST} levels deep")
        if isinstance(value, dict):
            return {_key(key): self.cleaned(one, depth + 1) for key, one in value.items()}
        if isinstance(value, list):
            return [self.cleaned(one, depth + 1) for one in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("it has a number that is not finite")
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        return str(value)


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return key if isinstance(key, str) else str(key)
