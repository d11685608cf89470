"""StorageClass and VolumeAttributesClass."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import annotations, name
from kybern.api.validation.fields import qualified_name
from kybern.api.validation.metadata import immutable

_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _default(storage_class: Obj) -> None:
    if storage_class.get("reclaimPolicy") is None:
        storage_class["reclaimPolicy"] = "Delete"
    if storage_class.get("volumeBindingMode") is None:
        storage_class["volumeBindingMode"] = "Immediate"


def _name(storage_class: Obj, now: float) -> str:
    held = annotations(storage_class)
    is_default = any(held.get(key) == "true" for key in _DEFAULT_CLASS)
    return name(storage_class) + (" (default)" if is_default else "")


COLUMNS = (
    Column("Name", _name, format="name"),
    Column("Provisioner", at("provisioner")),
    Column("ReclaimPolicy", at("reclaimPolicy", default="Delete")),
    Column("VolumeBindingMode", at("volumeBindingMode", default="Immediate")),
    Column("AllowVolumeExpansion", at("allowVolumeExpansion", default=False)),
    AGE,
)


_RECLAIM = ("Delete", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_MAX_PARAMETERS = 512
_MAX_BYTES = 256 * 1024
_FIXED = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")


def _check(storage_class: Obj) -> list[FieldError]:
    provisioner = storage_class.get("provisioner", "")
    errors = (
        qualified_name(provisioner.lower(), "provisioner")
        if provisioner
        else [required("provisioner")]
    )
    errors += _check_parameters(storage_class.get("parameters") or {})
    reclaim = storage_class.get("reclaimPolicy")
    if reclaim and reclaim not in _RECLAIM:
        errors.append(not_supported("reclaimPolicy", reclaim, _RECLAIM))
    binding = storage_class.get("volumeBindingMode")
    if binding is None:
        errors.append(required("volumeBindingMode"))
    elif binding not in _BINDING:
        errors.append(not_supported("volumeBindingMode", binding, _BINDING))
    return errors


def _check_parameters(parameters: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(parameters) > _MAX_PARAMETERS:
        errors.append(too_long("parameters", _MAX_PARAMETERS))
    if "" in parameters:
        errors.append(invalid_value("parameters", "", "field can not be empty."))
    if sum(len(k.encode()) + len(v.encode()) for k, v in parameters.items()) > _MAX_BYTES:
        errors.append(too_long("parameters", _MAX_BYTES))
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in _FIXED:
        errors += immutable(new.get(field), old.get(field), field)
    return errors


def _check_attributes(attributes_class: Obj) -> list[FieldError]:
    driver = attributes_class.get("driverName", "")
    at = "driverName"
    errors = qualified_name(driver.lower(), at) if driver else [required(at)]
    if not attributes_class.get("parameters"):
        text = "must contain at least one key/value pair"
        errors.append(required("parameters", text))
    return errors + _check_parameters(attributes_class.get("parameters") or {})


def _check_attributes_update(new: Obj, old: Obj) -> list[FieldError]:
    return [
        field_forbidden(name, f"updates to {name} are forbidden.")
        for name in ("driverName", "parameters")
        if (new.get(name) or None) != (old.get(name) or None)
    ]


STORAGE_CLASS = Kind(
    group="storage.k8s.io",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    short_names=("sc",),
    strategy=Strategy(
        metadata_checks=2,
        check=_check,
        check_update=_check_update,
        default=_default,
        namespaced=False,
    ),
    columns=COLUMNS,
)

VOLUME_ATTRIBUTES_CLASS = Kind(
    group="storage.k8s.io",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    versions=("v1", "v1beta1"),
    namespaced=False,
    deprecations={
        "v1beta1": "storage.k8s.io/v1beta1 VolumeAttributesClass is deprecated in v1.34+, "
        "unavailable in v1.37+; use storage.k8s.io/v1 VolumeAttributesClass"
    },
    short_names=("vac",),
    strategy=Strategy(
        metadata_checks=2,
        check=_check_attributes,
        check_update=_check_attributes_update,
        namespaced=False,
    ),
    columns=(NAME, Column("DriverName", at("driverName")), AGE),
)
