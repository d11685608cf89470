"""CSIDriver, CSINode and CSIStorageCapacity."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, UNSET, at, length
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.storage import (
    check_csi_driver,
    check_csi_driver_update,
    check_csi_node,
    check_csi_node_update,
    check_csi_storage_capacity,
    check_csi_storage_capacity_update,
)

_FALSE = ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount")


def _default(driver: Obj) -> None:
    spec = driver.setdefault("spec", {})
    if spec.get("attachRequired") is None:
        spec["attachRequired"] = True
    for name in _FALSE:
        if spec.get(name) is None:
            spec[name] = False
    if spec.get("fsGroupPolicy") is None:
        spec["fsGroupPolicy"] = "ReadWriteOnceWithFSType"
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _no_generation(driver: Obj) -> None:
    """Upstream counts this kind's generation from its first change on, not from creation."""
    driver["metadata"].pop("generation", None)


def _warnings(driver: Obj) -> list[str]:
    spec = driver.get("spec") or {}
    if not spec.get("tokenRequests") or spec.get("serviceAccountTokenInSecrets") is not None:
        return []
    return [
        "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true "
        "to prevent possible logging of tokens in volume attributes"
    ]


def _update_warnings(new: Obj, old: Obj) -> list[str]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    changed = (after.get("tokenRequests") or []) != (before.get("tokenRequests") or [])
    return _warnings(new) if changed else []


def _token_requests(driver: Obj, now: float) -> str:
    requests = (driver.get("spec") or {}).get("tokenRequests")
    if requests is None:
        return UNSET
    return ",".join(request.get("audience", "") for request in requests)


def _modes(driver: Obj, now: float) -> str:
    return ",".join((driver.get("spec") or {}).get("volumeLifecycleModes") or ()) or NONE


DRIVER_COLUMNS = (
    NAME,
    Column("AttachRequired", at("spec", "attachRequired", default=True), "boolean"),
    Column("PodInfoOnMount", at("spec", "podInfoOnMount", default=False), "boolean"),
    Column("StorageCapacity", at("spec", "storageCapacity", default=False), "boolean"),
    Column("TokenRequests", _token_requests),
    Column("RequiresRepublish", at("spec", "requiresRepublish", default=False), "boolean"),
    Column("Modes", _modes),
    AGE,
)
CAPACITY_COLUMNS = (
    NAME,
    Column("StorageClassName", at("storageClassName")),
    Column("Capacity", at("capacity", default=UNSET)),
)


CSI_DRIVER = Kind(
    group="storage.k8s.io",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    strategy=Strategy(
        default=_default,
        generation=spec_changed,
        create=_no_generation,
        check=check_csi_driver,
        check_update=check_csi_driver_update,
        warnings=_warnings,
        update_warnings=_update_warnings,
        namespaced=False,
        allow_unconditional_update=False,
    ),
    columns=DRIVER_COLUMNS,
)

CSI_NODE = Kind(
    group="storage.k8s.io",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    strategy=Strategy(
        check=check_csi_node,
        check_update=check_csi_node_update,
        namespaced=False,
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("Drivers", length("spec", "drivers"), "integer"), AGE),
)

CSI_STORAGE_CAPACITY = Kind(
    group="storage.k8s.io",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    strategy=Strategy(
        metadata_checks=2,
        check=check_csi_storage_capacity,
        check_update=check_csi_storage_capacity_update,
        allow_unconditional_update=False,
    ),
    columns=CAPACITY_COLUMNS,
)
