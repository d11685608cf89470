"""Small checks of single values that many validators make."""

from collections.abc import Collection, Iterable
from typing import Any

from kybern.api.errors import FieldError, invalid_value, not_supported, required
from kybern.api.validation.names import (
    Messages,
    between,
    is_dns1123_label,
    is_dns1123_subdomain,
    is_port_name,
    is_port_number,
    is_qualified_name,
)

NOT_NEGATIVE = "must be greater than or equal to 0"
MAX_INT32 = 2**31 - 1


def named(messages: Iterable[str], value: str, path: str) -> list[FieldError]:
    """What a name check said, as errors at a path."""
    return [invalid_value(path, value, message) for message in messages]


def dns_label(value: str, path: str) -> list[FieldError]:
    return named(is_dns1123_label(value), value, path)


def dns_subdomain(value: str, path: str) -> list[FieldError]:
    return named(is_dns1123_subdomain(value), value, path)


def qualified_name(value: str, path: str) -> list[FieldError]:
    return named(is_qualified_name(value), value, path)


def not_negative(value: int | None, path: str) -> list[FieldError]:
    """An absent number is zero."""
    return [invalid_value(path, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def positive(value: int | None, path: str) -> list[FieldError]:
    if value is not None and value > 0:
        return []
    return [invalid_value(path, value or 0, "must be greater than zero")]


def one_of(
    value: Any, allowed: Collection[str], path: str, *, optional: bool = False
) -> list[FieldError]:
    """An enumeration: an empty value is missing, any other unknown one is not supported."""
    if value in allowed:
        return []
    if not value:
        return [] if optional else [required(path)]
    return [not_supported(path, value, allowed)]


def port_number(value: int, path: str) -> list[FieldError]:
    return [invalid_value(path, value, message) for message in is_port_number(value)]


def port_or_name(value: int | str, path: str) -> list[FieldError]:
    messages: Messages = (
        is_port_name(value) if isinstance(value, str) else is_port_number(value or 0)
    )
    return [invalid_value(path, value, message) for message in messages]


def user_id(value: int | None, path: str) -> list[FieldError]:
    """A numeric user or group."""
    if value is None or 0 <= value <= MAX_INT32:
        return []
    return [invalid_value(path, value, between(0, MAX_INT32))]


def relative_path(value: str, path: str) -> list[FieldError]:
    """A path that stays below the directory it is joined to."""
    errors: list[FieldError] = []
    if value.startswith("/"):
        errors.append(invalid_value(path, value, "must be a relative path"))
    return errors + no_backsteps(value, path)


def no_backsteps(value: str, path: str) -> list[FieldError]:
    if ".." in value and ".." in value.split("/"):
        return [invalid_value(path, value, "must not contain '..'")]
    return []


def file_path(value: str, path: str) -> list[FieldError]:
    """A relative path for a file of a volume; names that begin with two dots are the kubelet's."""
    errors = relative_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(invalid_value(path, value, "must not start with '..'"))
    return errors


def file_mode(value: int | None, path: str) -> list[FieldError]:
    if value is None or 0 <= value <= 0o777:
        return []
    text = "must be a number between 0 and 0777 (octal), both inclusive"
    return [invalid_value(path, value, text)]
