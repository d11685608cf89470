"""PersistentVolumeClaim."""

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.defaults.volumes import default_claim_spec
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.core.persistentvolume import access_modes, storage_class
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import copy


def _default(claim: Obj) -> None:
    status = claim.get("status")
    if status is None:
        status = claim["status"] = {}
    if not status.get("phase"):
        status["phase"] = "Pending"
    spec = claim.setdefault("spec", {})
    default_claim_spec(spec)
    resources = spec.get("resources") or {}
    default_resource_list(resources.get("limits"))
    default_resource_list(resources.get("requests"))


def _create(claim: Obj) -> None:
    claim["status"] = {"phase": "Pending"}
    _same_sources(claim["spec"])


def _update(new: Obj, old: Obj) -> None:
    _same_sources(new["spec"])


def _same_sources(spec: Obj) -> None:
    """``dataSource`` and ``dataSourceRef`` say the same; either stands for both."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = copy(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = copy(reference)


def _bound(claim: Obj) -> bool:
    return bool((claim.get("spec") or {}).get("volumeName"))


def _status(claim: Obj, now: float) -> str:
    if claim["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(at("status", "phase")(claim, now))


def _capacity(claim: Obj, now: float) -> str:
    return str(at("status", "capacity", "storage")(claim, now)) if _bound(claim) else ""


def _modes(claim: Obj, now: float) -> str:
    return access_modes((claim.get("status") or {}).get("accessModes")) if _bound(claim) else ""


COLUMNS = (
    NAME,
    Column("Status", _status),
    Column("Volume", at("spec", "volumeName")),
    Column("Capacity", _capacity),
    Column("Access Modes", _modes),
    Column("StorageClass", lambda o, now: storage_class(o)),
    Column("VolumeAttributesClass", at("spec", "volumeAttributesClassName", default=UNSET)),
    AGE,
    Column("VolumeMode", at("spec", "volumeMode", default=UNSET), priority=1),
)


PERSISTENT_VOLUME_CLAIM = Kind(
    group="",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    subresources=(status_of("PersistentVolumeClaim"),),
    strategy=Strategy(default=_default, create=_create, update=_update, status=True),
    columns=COLUMNS,
)
