"""StorageClass and VolumeAttributesClass."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import annotations, name

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


STORAGE_CLASS = Kind(
    group="storage.k8s.io",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    short_names=("sc",),
    strategy=Strategy(default=_default, namespaced=False),
    columns=COLUMNS,
)

VOLUME_ATTRIBUTES_CLASS = Kind(
    group="storage.k8s.io",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    short_names=("vac",),
    strategy=Strategy(namespaced=False),
    columns=(NAME, Column("DriverName", at("driverName")), AGE),
)
