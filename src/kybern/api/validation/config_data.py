"""Validation of the data of ConfigMaps and Secrets."""

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value
from kybern.api.validation.names import is_config_key

MAX_BYTES = 1024 * 1024
SEALED = "field is immutable when `immutable` is set"


def data_keys(data: Obj | None, path: str) -> list[FieldError]:
    """Keys become file names."""
    errors: list[FieldError] = []
    for key in data or ():
        for message in is_config_key(key):
            errors.append(invalid_value(f"{path}[{key}]", key, message))
    return errors


def sealed(new: Obj, old: Obj, fields: tuple[str, ...]) -> list[FieldError]:
    """What is marked immutable stays so, data and mark alike."""
    if not old.get("immutable"):
        return []
    errors: list[FieldError] = []
    if not new.get("immutable"):
        errors.append(field_forbidden("immutable", SEALED))
    for name in fields:
        if (new.get(name) or {}) != (old.get(name) or {}):
            errors.append(field_forbidden(name, SEALED))
    return errors


def decoded_size(data: Obj | None) -> int:
    """The bytes that base64 values stand for."""
    return sum(len(v) * 3 // 4 - v[-2:].count("=") for v in (data or {}).values())
