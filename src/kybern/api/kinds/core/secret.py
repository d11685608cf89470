"""Secret: its type and its write-only ``stringData``."""

import base64
import json

from kybern.api.errors import FieldError, Obj, invalid_value, required, too_long
from kybern.api.kinds.columns import AGE, NAME, at, field, length
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.config_data import MAX_BYTES, data_keys, decoded_size, sealed
from kybern.api.validation.metadata import immutable


def _default(secret: Obj) -> None:
    """``stringData`` is a way to write ``data``; it is never stored."""
    if not secret.get("type"):
        secret["type"] = "Opaque"
    text = secret.pop("stringData", None)
    if text:
        data = secret.get("data") or {}
        for key, value in text.items():
            data[key] = base64.b64encode(value.encode()).decode()
        secret["data"] = data


def _update(new: Obj, old: Obj) -> None:
    if not new.get("type"):
        new["type"] = old.get("type", "")


_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_BASIC_AUTH = ("username", "password")
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_JSON_TYPES = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")


def _check(secret: Obj) -> list[FieldError]:
    data, kind = secret.get("data") or {}, secret.get("type", "")
    errors = data_keys(data, "data")
    if decoded_size(data) > MAX_BYTES:
        errors.append(too_long("data", MAX_BYTES))
    if kind == "kubernetes.io/service-account-token":
        if not (secret["metadata"].get("annotations") or {}).get(_ACCOUNT_NAME):
            errors.append(required(f"metadata.annotations[{_ACCOUNT_NAME}]"))
    elif kind == "kubernetes.io/basic-auth":
        if not any(key in data for key in _BASIC_AUTH):
            errors += [required(f"data[{key}]") for key in _BASIC_AUTH]
    else:
        for key in _NEEDED.get(kind, ()):
            if key not in data or (kind.endswith("ssh-auth") and not data[key]):
                errors.append(required(f"data[{key}]"))
            elif kind in _JSON_TYPES:
                errors += _check_json(data[key], f"data[{key}]")
    return errors


def _check_json(encoded: str, path: str) -> list[FieldError]:
    try:
        value = json.loads(base64.b64decode(encoded))
    except ValueError:
        text = "invalid JSON"
        return [invalid_value(path, "<secret contents redacted>", text)]
    if isinstance(value, dict):
        return []
    text = "json: cannot unmarshal into Go value of type map[string]interface {}"
    return [invalid_value(path, "<secret contents redacted>", text)]


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    errors = immutable(new.get("type", ""), old.get("type", ""), "type")
    return errors + sealed(new, old, ("data",))


SECRET = Kind(
    group="",
    kind="Secret",
    plural="secrets",
    strategy=Strategy(
        metadata_checks=2,
        check=_check,
        check_update=_check_update,
        default=_default,
        update=_update,
    ),
    columns=(NAME, Column("Type", at("type")), Column("Data", length("data")), AGE),
    selectable_fields={"type": field("type")},
)
