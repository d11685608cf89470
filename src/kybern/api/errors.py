"""API failures: the ``Status`` object, and the field errors that make up an Invalid one.

The API server raises :class:`StatusError` anywhere on a request's way and the edge encodes it; a
client raises the same class for what it receives, so both sides read reasons by one name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

Obj = dict[str, Any]


class StatusError(Exception):
    """A failed API call. ``details`` is the Status's details object, or None."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Obj | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}

    def status(self) -> Obj:
        """The Status object, as it goes over the wire."""
        body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body

    @classmethod
    def from_status(cls, status: Obj, code: int = 500) -> "StatusError":
        """Rebuild the error from a Status that a server sent."""
        return cls(
            status.get("code") or code,
            status.get("reason", ""),
            status.get("message", ""),
            status.get("details"),
        )


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _named(resource: str, group: str, name: str, **extra: Any) -> Obj:
    details: Obj = {"name": name} if name else {}
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    details.update(extra)
    return details


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, name: str, why: str, group: str = "") -> StatusError:
    """``pods "x" is forbidden: why``; an empty name leaves the quotes out, as upstream does."""
    what = _qualified(resource, group)
    subject = f'{what} "{name}" is forbidden' if name else f"{what} is forbidden"
    if not resource:
        subject = "forbidden"
    return StatusError(403, "Forbidden", f"{subject}: {why}", _named(resource, group, name))


def not_found(resource: str, name: str, group: str = "") -> StatusError:
    message = f'{_qualified(resource, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, _named(resource, group, name))


def no_such_path() -> StatusError:
    """What the server answers for a path or resource it does not serve."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_supported(resource: str, action: str, group: str = "") -> StatusError:
    message = f'{action} is not supported on resources of kind "{_qualified(resource, group)}"'
    return StatusError(405, "MethodNotAllowed", message, _named(resource, group, ""))


def method_not_allowed() -> StatusError:
    return StatusError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        {},
    )


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    return StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(accepted),
    )


def already_exists(resource: str, name: str, group: str = "") -> StatusError:
    message = f'{_qualified(resource, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _named(resource, group, name))


def conflict(resource: str, name: str, why: str, group: str = "") -> StatusError:
    message = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _named(resource, group, name))


OBJECT_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def expired(message: str) -> StatusError:
    """410 Gone: the resourceVersion or continue token is older than the compaction."""
    return StatusError(410, "Expired", message)


def request_too_large(message: str) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return StatusError(415, "UnsupportedMediaType", message)


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    return StatusError(
        429,
        "TooManyRequests",
        message,
        {"retryAfterSeconds": retry_after_seconds},
        {"Retry-After": str(retry_after_seconds)},
    )


def internal_error(message: str) -> StatusError:
    return StatusError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )


def service_unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)


def timeout(message: str, retry_after_seconds: int = 0) -> StatusError:
    details: Obj = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    return StatusError(504, "Timeout", f"Timeout: {message}", details)


def _shown(value: Any) -> str:
    """A bad value as Go prints it inside a field error."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return orjson.dumps(value).decode()
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return str(value)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One cause of an Invalid error: a reason, a field path such as ``spec.ports[0].name``."""

    reason: str
    field: str
    message: str

    def cause(self) -> Obj:
        return {"reason": self.reason, "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, _with("Required value", detail))


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, _with(f"Invalid value: {_shown(value)}", detail))


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(
        "FieldValueTypeInvalid", field, _with(f"Invalid value: {_shown(value)}", detail)
    )


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    listed = ", ".join(f'"{s}"' for s in supported)
    detail = f"supported values: {listed}"
    return FieldError(
        "FieldValueNotSupported", field, _with(f"Unsupported value: {_shown(value)}", detail)
    )


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_shown(value)}")


def field_forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, _with("Forbidden", detail))


def field_not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, f"Not found: {_shown(value)}")


def too_long(field: str, max_length: int) -> FieldError:
    return FieldError(
        "FieldValueTooLong", field, f"Too long: may not be more than {max_length} bytes"
    )


def too_many(field: str, actual: int, max_items: int) -> FieldError:
    return FieldError(
        "FieldValueTooMany", field, f"Too many: {actual}: must have at most {max_items} items"
    )


def _with(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head


def invalid(kind: str, name: str, errors: Sequence[FieldError], group: str = "") -> StatusError:
    """422 Invalid. ``kind`` is the kind's name (``Pod``), not the plural."""
    texts = list(dict.fromkeys(str(e) for e in errors))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    message = f'{_qualified(kind, group)} "{name}" is invalid: {joined}'
    details = _named(kind, group, name, causes=[e.cause() for e in errors])
    return StatusError(422, "Invalid", message, details)
