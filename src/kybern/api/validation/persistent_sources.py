"""Validation of the volume source of a persistent volume."""

from kybern.api.errors import FieldError, Obj, field_forbidden, required
from kybern.api.validation.fields import no_backsteps
from kybern.api.validation.volumes import (
    MORE_THAN_ONE,
    REQUIRED_FIELDS,
    csi_driver_name,
    fibre_channel,
    host_path,
    needed,
    nfs,
)

_CHECKS = {"hostPath": host_path, "nfs": nfs, "fc": fibre_channel}
_FIELDS = {k: v for k, v in REQUIRED_FIELDS.items() if k != "persistentVolumeClaim"}
# The first of several sources counts in this order.
_ORDER = (*_CHECKS, *_FIELDS, "local", "csi")


def source_of(spec: Obj) -> Obj:
    """The part of a volume's spec that says what it is stored in."""
    return {name: spec[name] for name in _ORDER if spec.get(name) is not None}


def persistent_source(spec: Obj, path: str) -> list[FieldError]:
    """Exactly one source, and what it needs."""
    errors: list[FieldError] = []
    found = False
    for name, source in source_of(spec).items():
        at = f"{path}.{name}"
        if found:
            errors.append(field_forbidden(at, MORE_THAN_ONE))
            continue
        found = True
        if name in _CHECKS:
            errors += _CHECKS[name](source, at)
        elif name == "csi":
            errors += csi_driver_name(source.get("driver", ""), f"{at}.driver")
            errors += needed(source, ("volumeHandle",), at)
        elif name == "local":
            errors += needed(source, ("path",), at)
            errors += no_backsteps(source.get("path", ""), f"{at}.path")
        else:
            errors += needed(source, _FIELDS[name], at)
    if not found:
        errors.append(required(path, "must specify a volume type"))
    return errors
