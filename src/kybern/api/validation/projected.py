"""Validation of projected volumes, which put several sources into one directory."""

from collections.abc import Callable
from typing import Any

from kybern.api.errors import FieldError, Obj, field_forbidden, invalid_value, required
from kybern.api.validation.fields import file_mode, file_path

_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32
_SOURCES = (
    "secret",
    "configMap",
    "downwardAPI",
    "serviceAccountToken",
    "clusterTrustBundle",
    "podCertificate",
)


def projected(
    volume: Obj,
    path: str,
    key_paths: Callable[[Any, str], list[FieldError]],
    downward_file: Callable[[Obj, str], list[FieldError]],
) -> list[FieldError]:
    """``projected`` of a pod's volume; the checks of its items are those of plain volumes."""
    errors = file_mode(volume.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for i, source in enumerate(volume.get("sources") or ()):
        at = f"{path}.sources[{i}]"
        given = [name for name in _SOURCES if source.get(name) is not None]
        for name in given:
            held, where = source[name], f"{at}.{name}"
            if name in ("secret", "configMap"):
                if not held.get("name"):
                    errors.append(required(f"{where}.name"))
                errors += key_paths(held.get("items") or (), f"{where}.items")
                errors += _conflicts(held, held.get("name", ""), taken, path)
            elif name == "downwardAPI":
                for item in held.get("items") or ():
                    errors += downward_file(item, where)
                errors += _conflicts(held, None, taken, path)
            elif name == "serviceAccountToken":
                errors += _token(held, path, where)
            elif name == "clusterTrustBundle":
                errors += _trust_bundle(held, where)
        if len(given) > 1:
            text = "may not specify more than 1 volume type per source"
            errors.append(field_forbidden(at, text))
    return errors


def _conflicts(source: Obj, name: str | None, taken: set[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for item in source.get("items") or ():
        where = item.get("path")
        if not where:
            continue
        if where in taken:
            shown = where if name is None else name
            errors.append(invalid_value(path, shown, "conflicting duplicate paths"))
        taken.add(where)
    return errors


def _token(token: Obj, path: str, where: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seconds = token.get("expirationSeconds", 0)
    if seconds < _MIN_SECONDS:
        text = "may not specify a duration less than 10 minutes"
        errors.append(invalid_value(f"{where}.expirationSeconds", seconds, text))
    if seconds > _MAX_SECONDS:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid_value(f"{where}.expirationSeconds", seconds, text))
    if not token.get("path"):
        return [*errors, required(f"{path}.path")]
    return errors + file_path(token["path"], f"{path}.path")


def _trust_bundle(bundle: Obj, path: str) -> list[FieldError]:
    name, signer = bundle.get("name"), bundle.get("signerName")
    errors: list[FieldError] = []
    if name is not None and signer is not None:
        text = "only one of name and signerName may be used"
        errors.append(invalid_value(path, bundle, text))
    elif name is not None:
        if not name:
            errors.append(required(f"{path}.name", "must be a valid object name"))
        selector = bundle.get("labelSelector")
        if selector is not None:
            text = "labelSelector must be unset if name is specified"
            errors.append(invalid_value(f"{path}.labelSelector", selector, text))
    elif signer is None:
        errors.append(required(path, "either name or signerName must be specified"))
    elif not signer:
        errors.append(required(f"{path}.signerName", "must be a valid signer name"))
    if not bundle.get("path"):
        errors.append(required(f"{path}.path"))
    return errors + file_path(bundle.get("path", ""), f"{path}.path")
