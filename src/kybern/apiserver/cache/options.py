"""The options of LIST and WATCH: which combinations are allowed, and what a refusal says.

Upstream splits them the same way: a combination that makes no sense is an Invalid ListOptions
(422), an unreadable version or continue token a bad request (400), a version from the future a
timeout (504), one that the history no longer covers Expired (410).
"""

import base64
import posixpath
import string
from typing import Any, NamedTuple

import orjson

from kybern.api.errors import (
    FieldError,
    Obj,
    StatusError,
    bad_request,
    expired,
    field_forbidden,
    invalid,
    invalid_value,
    not_supported,
    service_unavailable,
    timeout,
)
from kybern.api.schema.body import Malformed, read_body
from kybern.api.schema.foreign_kind import json_name
from kybern.store.interface import StoreError, StoreFailed

EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"

_MAX_REVISION = 2**64 - 1
_MAX_TOKEN = 8192

_TOKEN_LETTERS = frozenset(string.ascii_letters + string.digits + "-_")
_TOKEN_TYPE = "storage.continueToken"
_TOKEN_VERSION = "meta.k8s.io/v1"

LIST_EXPIRED = "The resourceVersion for the provided list is too old."
WATCH_EXPIRED = "The resourceVersion for the provided watch is too old."
CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise invalid("ListOptions", "", errors, "meta.k8s.io")


def validate_list(resource_version: str, match: str, continue_token: str) -> None:
    """Raise 422 for a combination that LIST does not have."""
    errors: list[FieldError] = []
    field = "resourceVersionMatch"
    if match:
        if not resource_version:
            errors.append(
                field_forbidden(
                    field, "resourceVersionMatch is forbidden unless resourceVersion is provided"
                )
            )
        if continue_token:
            errors.append(
                field_forbidden(
                    field, "resourceVersionMatch is forbidden when continue is provided"
                )
            )
        if match not in (EXACT, NOT_OLDER_THAN):
            errors.append(not_supported(field, match, (EXACT, NOT_OLDER_THAN, "")))
        if match == EXACT and resource_version == "0":
            errors.append(
                field_forbidden(
                    field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                )
            )
    _refuse(errors)


def validate_watch(match: str, send_initial_events: bool | None, continue_token: str) -> None:
    """Raise 422 for a combination that WATCH does not have."""
    errors: list[FieldError] = []
    field = "resourceVersionMatch"
    if send_initial_events is not None and match != NOT_OLDER_THAN:
        errors.append(
            field_forbidden(
                field,
                f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}",
            )
        )
    if match:
        if send_initial_events is None:
            errors.append(
                field_forbidden(
                    field,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
                    "provided",
                )
            )
        if match != NOT_OLDER_THAN:
            errors.append(not_supported(field, match, (NOT_OLDER_THAN,)))
        if continue_token:
            errors.append(
                field_forbidden(
                    field, "resourceVersionMatch is forbidden when continue is provided"
                )
            )
    _refuse(errors)


def _resource_version_error(text: str) -> FieldError | None:
    """Why Go's ParseUint would refuse a resourceVersion."""
    quoted = orjson.dumps(text).decode()
    if not (text.isascii() and text.isdigit()):
        why = "invalid syntax"
    elif int(text[:32]) > _MAX_REVISION:
        why = "value out of range"
    else:
        return None
    return invalid_value("resourceVersion", text, f"strconv.ParseUint: parsing {quoted}: {why}")


def list_revision(text: str) -> int:
    """The revision of a LIST or GET; 0 for the empty one. Raises 400."""
    if not text:
        return 0
    error = _resource_version_error(text)
    if error:
        raise bad_request(f"invalid resource version: {error}")
    return int(text)


def watch_revision(text: str) -> int:
    """The revision of a WATCH; 0 for the empty one. Raises 400.

    Upstream says the same with a 500, but it is the client that is wrong.
    """
    if not text:
        return 0
    error = _resource_version_error(text)
    if error:
        raise bad_request(str(error))
    return int(text)


class ContinueToken(NamedTuple):
    """Where a paged list goes on: at which revision (negative: the newest), from which key."""

    revision: int
    start: str

    def encode(self, prefix: str) -> str:
        """The opaque text; ``start`` lies under ``prefix`` and is kept relative to it."""
        assert self.start.startswith(prefix), "a page ends under its own prefix"
        token = {"v": _TOKEN_VERSION, "rv": self.revision, "start": self.start[len(prefix) :]}
        return base64.urlsafe_b64encode(orjson.dumps(token)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str, prefix: str) -> "ContinueToken":
        """Read a token that this or another API server has issued; raises 400."""
        token = _decode_json(text)
        if token.get("v") != _TOKEN_VERSION:
            shown = token.get("v", "")
            raise _bad_token(f": server does not recognize this encoded version {shown}")
        revision, start = token.get("rv") or 0, token.get("start") or ""
        if abs(revision) >= 2**63:
            raise _bad_token("")
        if revision == 0:
            raise _bad_token(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
        if not start:
            raise _bad_token(": encoded start key empty (version meta.k8s.io/v1)")
        rooted = start if start.startswith("/") else "/" + start
        if not _is_clean(rooted):
            raise _bad_token(f": {start}")
        return cls(revision, prefix + rooted[1:])


def _decode_json(text: str) -> dict[str, Any]:
    if len(text) > _MAX_TOKEN:
        raise _bad_token("")
    wrong = next((i for i, letter in enumerate(text) if letter not in _TOKEN_LETTERS), None)
    if wrong is None and len(text) % 4 == 1:
        wrong = len(text) - 1
    if wrong is not None:
        raise _bad_token(f": illegal base64 data at input byte {wrong}")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    try:
        token, _ = read_body(data)
    except Malformed as problem:
        raise _bad_token(f": {problem}") from None
    return _checked_token(token)


def _checked_token(token: Any) -> dict[str, Any]:
    if token is None:
        return {}
    if not isinstance(token, dict):
        found = json_name(token)
        raise _bad_token(f": json: cannot unmarshal {found} into Go value of type {_TOKEN_TYPE}")
    types: dict[str, tuple[type, str]] = {
        "v": (str, "string"),
        "rv": (int, "int64"),
        "start": (str, "string"),
    }
    for name, (wanted, go_type) in types.items():
        value = token.get(name)
        # A JSON true would pass for an int.
        if value is not None and type(value) is not wanted:
            field = f"Go struct field continueToken.{name} of type {go_type}"
            raise _bad_token(f": json: cannot unmarshal {json_name(value)} into {field}")
    return token


def _is_clean(path: str) -> bool:
    """Whether a path has no dots and doubled slashes that could lead out of its prefix."""
    return not path.startswith("//") and posixpath.normpath(path) == path


def _bad_token(why: str) -> StatusError:
    return bad_request(f"invalid continue token: continue key is not valid{why}")


class ContinueExpired(StatusError):
    """410 for a page whose revision is compacted; carries a token to go on without consistency."""

    def __init__(self, token: str) -> None:
        error = expired(CONTINUE_EXPIRED)
        super().__init__(error.code, error.reason, error.message)
        self.continue_token = token

    def status(self) -> Obj:
        body = super().status()
        body["metadata"] = {"continue": self.continue_token}
        return body


def storage_error(error: StoreError) -> StatusError:
    """What a client is told when the store cannot be asked or refuses: like upstream, its words."""
    if isinstance(error, StoreFailed):
        if error.timed_out:
            return timeout(f"request did not complete within requested timeout - {error}")
        return StatusError(500, "", str(error))
    return service_unavailable(str(error))


def too_large_resource_version(wanted: int, current: int) -> StatusError:
    """504 for a revision that has not been reached; the client retries after a second."""
    error = timeout(f"Too large resource version: {wanted}, current: {current}", 1)
    assert error.details is not None
    error.details["causes"] = [
        {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    ]
    return error


def too_old_resource_version(wanted: int, oldest: int) -> StatusError:
    """410 for a watch that starts before the window."""
    return expired(f"too old resource version: {wanted} ({oldest})")
