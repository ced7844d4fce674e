"""Errors as the API answers them: an exception that carries a Kubernetes `Status` object.

Raised anywhere below `api`, rendered once there. Reasons and messages follow the API conventions, clients match on
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.sandbox.validation import Cause


class ApiError(ReconcilerError):
    """An answer other than success. code: the HTTP status; details: the Status' `details` (None = left out).

    metadata: the Status' own, where a refused list says how to go on.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(reason, message)
        self.code = code
        self.details = details
        self.metadata: dict[str, Any] = {}

    def status(self) -> dict[str, Any]:
        """The body: kind Status, apiVersion v1."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {key: value for key, value in body.items() if value is not None and (value != "" or key != "reason")}


def _named(resource: str, name: str, **more: Any) -> dict[str, Any]:
    plural, _, group = resource.partition(".")
    details: dict[str, Any] = {"name": name, "group": group, "kind": plural, **more}
    return {key: value for key, value in details.items() if value not in ("", None)}


def not_found(resource: str, name: str) -> ApiError:
    """No object of that name. resource: `deployments.apps`, `pods`."""
    return ApiError(404, "NotFound", f'{resource} "{name}" not found', _named(resource, name))


def no_such_path() -> ApiError:
    """The server serves no such type or path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: str, name: str, *, is_going: bool = False) -> ApiError:
    """A create met an object of that name, which may be on its way out."""
    prefix = "object is being deleted: " if is_going else ""
    return ApiError(409, "AlreadyExists", f'{prefix}{resource} "{name}" already exists', _named(resource, name))


_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(resource: str, name: str, why: str = _MODIFIED) -> ApiError:
    """A write was based on another version of the object."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, _named(resource, name))


def apply_conflict(message: str, causes: Sequence[Cause]) -> ApiError:
    """A server-side apply would change what other field owners hold."""
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    return ApiError(409, "Conflict", message, {"causes": listed})


def invalid(group_kind: tuple[str, str], name: str, causes: Sequence[Cause]) -> ApiError:
    """The object is well formed and still not acceptable. group_kind: (group, kind)."""
    group, kind = group_kind
    sentences = [cause.sentence() for cause in causes]
    joined = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    qualified = f"{kind}.{group}" if group else kind
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    details = {"name": name, "group": group, "kind": kind, "causes": listed}
    return ApiError(
        422,
        "Invalid",
        f'{qualified} "{name}" is invalid: {joined}',
        {key: value for key, value in details.items() if value != ""},
    )


def bad_request(message: str) -> ApiError:
    """The request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: str, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """The request is understood and refused."""
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    details = _named(resource, name, causes=listed or None)
    return ApiError(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}', details)


def unauthorized() -> ApiError:
    """No token, or not the cluster's."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    """The resource exists, the verb does not."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(given: str, accepted: Sequence[str]) -> ApiError:
    """A body of a type that is not read here."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", f"{message} (not {given})" if given else message, {})


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """The client accepts nothing that is written here."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return ApiError(406, "NotAcceptable", message, {})


def expired(message: str) -> ApiError:
    """A resource version or a continue token from before what is remembered."""
    return ApiError(410, "Expired", message)


def too_many_requests(message: str) -> ApiError:
    """More than is served at once."""
    return ApiError(429, "TooManyRequests", message, {"retryAfterSeconds": 1})


def unprocessable(message: str) -> ApiError:
    """A patch that cannot be applied to the object."""
    return ApiError(422, "Invalid", message, {})


def too_large(limit: int) -> ApiError:
    """A body over the limit."""
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}", {})


def success(details: dict[str, Any]) -> dict[str, Any]:
    """The Status that answers a deletion."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
