"""Validation of projected volumes, which put several sources into one directory."""

from collections.abc import Callable
from typing import Any

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.fields import file_mode, file_path
from kybern.api.validation.label_selectors import label_selector
from kybern.api.validation.metadata import user_annotations
from kybern.api.validation.signer_names import (
    check_signer_name,
    is_kubernetes_signer,
    trust_bundle_name,
)

_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32
_DAY = 24 * 60 * 60
_MIN_CERTIFICATE_SECONDS = 60 * 60
_MAX_CERTIFICATE_SECONDS = 91 * _DAY
KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
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
                paths = _item_paths(held)
                errors += _conflicts(paths, held.get("name", ""), taken, path)
            elif name == "downwardAPI":
                for item in held.get("items") or ():
                    errors += downward_file(item, where)
                errors += _conflicts(_item_paths(held), None, taken, path)
            elif name == "serviceAccountToken":
                errors += _token(held, path, where)
            elif name == "clusterTrustBundle":
                errors += _trust_bundle(held, where)
                errors += _conflicts([held.get("path", "")], None, taken, path)
            elif name == "podCertificate":
                errors += _pod_certificate(held, taken, path, where)
        if len(given) > 1:
            text = "may not specify more than 1 volume type per source"
            errors.append(field_forbidden(at, text))
    return errors


def _item_paths(source: Obj) -> list[str]:
    return [item["path"] for item in source.get("items") or () if item.get("path")]


def _conflicts(paths: list[str], name: str | None, taken: set[str], path: str) -> list[FieldError]:
    """Errors of paths that another source has; ``name`` is shown instead, if given."""
    errors: list[FieldError] = []
    for where in paths:
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
        errors.append(invalid_value(path, _as_upstream_shows(bundle), text))
    elif name is not None:
        if not name:
            errors.append(required(f"{path}.name", "must be a valid object name"))
        errors += _trust_bundle_name(name, f"{path}.name")
        selector = bundle.get("labelSelector")
        if selector is not None:
            text = "labelSelector must be unset if name is specified"
            errors.append(invalid_value(f"{path}.labelSelector", selector, text))
    elif signer is None:
        errors.append(required(path, "either name or signerName must be specified"))
    else:
        if not signer:
            errors.append(required(f"{path}.signerName", "must be a valid signer name"))
        errors += check_signer_name(signer, f"{path}.signerName")
        errors += label_selector(bundle.get("labelSelector"), f"{path}.labelSelector")
    if not bundle.get("path"):
        errors.append(required(f"{path}.path"))
    return errors + file_path(bundle.get("path", ""), f"{path}.path")


def _as_upstream_shows(bundle: Obj) -> Obj:
    """The source in the form of upstream's own type, whose fields have other names."""
    fields = ("name", "signerName", "labelSelector", "optional", "path")
    return {name[0].upper() + name[1:]: bundle.get(name) for name in fields}


def _trust_bundle_name(name: str, path: str) -> list[FieldError]:
    signer = name.rpartition(":")[0].replace(":", "/")
    return [
        invalid_value(path, name, f"not a valid clustertrustbundlename: {text}")
        for text in trust_bundle_name(name, signer)
    ]


def _pod_certificate(certificate: Obj, taken: set[str], volume: str, path: str) -> list[FieldError]:
    signer, key_type = certificate.get("signerName", ""), certificate.get("keyType", "")
    errors = check_signer_name(signer, f"{path}.signerName")
    errors += user_annotations(certificate.get("userAnnotations") or {}, f"{path}.userAnnotations")
    if key_type not in KEY_TYPES:
        errors.append(not_supported(f"{path}.keyType", key_type, KEY_TYPES))
    seconds = certificate.get("maxExpirationSeconds")
    longest = _DAY if is_kubernetes_signer(signer) else _MAX_CERTIFICATE_SECONDS
    at = f"{path}.maxExpirationSeconds"
    if seconds is not None and seconds < _MIN_CERTIFICATE_SECONDS:
        text = f"if provided, maxExpirationSeconds must be >= {_MIN_CERTIFICATE_SECONDS}"
        errors.append(invalid_value(at, seconds, text))
    if seconds is not None and seconds > longest:
        text = f"if provided, maxExpirationSeconds must be <= {longest}"
        errors.append(invalid_value(at, seconds, text))
    files = ("credentialBundlePath", "keyPath", "certificateChainPath")
    given = [name for name in files if certificate.get(name)]
    for name in given:
        errors += file_path(certificate[name], f"{path}.{name}")
        errors += _conflicts([certificate[name]], None, taken, volume)
    if not given:
        text = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        errors.append(required(path, text))
    return errors
