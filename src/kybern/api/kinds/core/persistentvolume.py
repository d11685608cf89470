"""PersistentVolume."""

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.defaults.volumes import default_volume_source
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy

_SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def access_modes(modes: list[str] | None) -> str:
    """Access modes in short form, in a fixed order and without repeats."""
    return ",".join(short for mode, short in _SHORT_MODES.items() if mode in (modes or ()))


def storage_class(obj: Obj) -> str:
    """The class of a volume or claim; the old annotation wins."""
    annotation = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    if annotation is not None:
        return str(annotation)
    return (obj.get("spec") or {}).get("storageClassName") or ""


def _default(volume: Obj) -> None:
    status = volume.get("status")
    if status is None:
        status = volume["status"] = {}
    if not status.get("phase"):
        status["phase"] = "Pending"
    spec = volume.setdefault("spec", {})
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    default_volume_source(spec)
    default_resource_list(spec.get("capacity"))


def _create(volume: Obj) -> None:
    volume["status"] = {"phase": "Pending"}
    created = volume["metadata"].get("creationTimestamp")
    if created:
        volume["status"]["lastPhaseTransitionTime"] = created


def _update_status(new: Obj, old: Obj) -> None:
    before, after = old.get("status") or {}, new.setdefault("status", {})
    if before.get("phase") == after.get("phase") and before.get("lastPhaseTransitionTime"):
        after.setdefault("lastPhaseTransitionTime", before["lastPhaseTransitionTime"])


def _status(volume: Obj, now: float) -> str:
    if volume["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(at("status", "phase")(volume, now))


def _claim(volume: Obj, now: float) -> str:
    claim = (volume.get("spec") or {}).get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


COLUMNS = (
    NAME,
    Column("Capacity", at("spec", "capacity", "storage")),
    Column("Access Modes", lambda o, now: access_modes((o.get("spec") or {}).get("accessModes"))),
    Column("Reclaim Policy", at("spec", "persistentVolumeReclaimPolicy")),
    Column("Status", _status),
    Column("Claim", _claim),
    Column("StorageClass", lambda o, now: storage_class(o)),
    Column("VolumeAttributesClass", at("spec", "volumeAttributesClassName", default=UNSET)),
    Column("Reason", at("status", "reason")),
    AGE,
    Column("VolumeMode", at("spec", "volumeMode", default=UNSET), priority=1),
)


PERSISTENT_VOLUME = Kind(
    group="",
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    subresources=(status_of("PersistentVolume"),),
    strategy=Strategy(
        default=_default,
        create=_create,
        update_status=_update_status,
        namespaced=False,
        status=True,
    ),
    columns=COLUMNS,
)
