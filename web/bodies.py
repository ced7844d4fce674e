"""Bodies of requests: JSON and nothing else, of a bounded size and depth, without what could be read in two ways."""

from __future__ import annotations

import json
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from reconciler.loading.documents import FindingsError
from reconciler.loading.messages import Finding
from reconciler.model.plain import plain_fault

_LONGEST_NUMBER = 30


def json_body(known: frozenset[str] | None = None) -> dict[str, Any]:
    """The object in the request's body; empty where there is no body.

    known: the fields that it may have; None: whatever they are. Raises UnsupportedMediaType, BadRequest,
    RequestEntityTooLarge, and FindingsError for a body that is no object or has other fields.
    """
    content = request.get_data(cache=False)
    if not content:
        return {}
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json")
    body = _parsed(content)
    if not isinstance(body, dict):
        raise FindingsError([Finding((), "expected a JSON object")], None)
    if known is not None and (unknown := sorted(body.keys() - known)):
        allowed = ", ".join(sorted(known)) or "none"
        findings = [Finding((name,), f"unknown field: known here are {allowed}") for name in unknown]
        raise FindingsError(findings, None)
    return body


def text_field(body: dict[str, Any], name: str, longest: int, *, required: bool = False) -> str:
    """A field of text; "" where it is left out. Raises FindingsError."""
    value = body.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str) or len(value) > longest:
        raise FindingsError([Finding((name,), f"expected a text of at most {longest} characters")], None)
    if required and not value.strip():
        raise FindingsError([Finding((name,), f'the field "{name}" is missing')], None)
    return value.strip()


def pointer(path: tuple[str | int, ...]) -> str:
    """The JSON pointer (RFC 6901) of a path: `/spec/ports/httpPort`."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _parsed(content: bytes) -> Any:
    try:
        body = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON that can be taken: {_said(error)}") from error
    if fault := plain_fault(body):
        raise BadRequest(f"the body cannot be taken: {fault}")
    return body


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:80]!r} stands there twice")
    return found


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(digits)


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)[:200]
