"""PersistentVolume."""

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.defaults.volumes import default_volume_source
from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.quantity import Quantity
from kybern.api.validation.affinity import node_selector
from kybern.api.validation.claims import VOLUME_MODES
from kybern.api.validation.claims import access_modes as check_modes
from kybern.api.validation.difference import difference
from kybern.api.validation.fields import named, one_of
from kybern.api.validation.metadata import immutable, object_meta, standard_finalizers
from kybern.api.validation.names import dns_subdomain
from kybern.api.validation.persistent_sources import persistent_source, source_of

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


def _date_phase(new: Obj, old: Obj, now: str) -> None:
    """A phase that changes is dated, unless the client gives a date of its own."""
    before, after = old.get("status") or {}, new.setdefault("status", {})
    name = "lastPhaseTransitionTime"
    held, given = before.get(name), after.get(name)
    if before.get("phase") == after.get("phase"):
        if given is None and held is not None:
            after[name] = held
    elif given is None or given == held:
        after[name] = now


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


_RECLAIM = ("Delete", "Recycle", "Retain")


def _check(volume: Obj) -> list[FieldError]:
    spec = volume.get("spec") or {}
    errors = check_modes(spec.get("accessModes") or [], "spec.accessModes")
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(required("spec.capacity"))
    if set(capacity) != {"storage"}:
        errors.append(not_supported("spec.capacity", spec.get("capacity"), ("storage",)))
    for name, text in capacity.items():
        amount, at = Quantity.parse(text), f"spec.capacity[{name}]"
        if amount.nano < 0:
            errors.append(invalid_value(at, amount.value(), "must be a valid resource quantity"))
        if amount.nano <= 0:
            errors.append(invalid_value(at, amount.canonical(), "must be greater than zero"))
    reclaim = spec.get("persistentVolumeReclaimPolicy")
    at = "spec.persistentVolumeReclaimPolicy"
    errors += one_of(reclaim, _RECLAIM, at, optional=True)
    affinity = (spec.get("nodeAffinity") or {}).get("required")
    if affinity is not None:
        errors += node_selector(affinity, "spec.nodeAffinity.required")
    elif next(iter(source_of(spec)), "") == "local":
        errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    errors += persistent_source(spec, "spec")
    if (spec.get("hostPath") or {}).get("path") == "/" and reclaim == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(field_forbidden(at, text))
    storage_class = spec.get("storageClassName")
    if storage_class:
        errors += named(dns_subdomain(storage_class), storage_class, "spec.storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported("spec.volumeMode", mode, VOLUME_MODES))
    return errors


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    """Metadata is judged as often as the rest, and not for its change."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    metadata = new["metadata"]
    errors = 2 * (object_meta(metadata, False, dns_subdomain) + standard_finalizers(metadata))
    if source_of(after) != source_of(before):
        text = "spec.persistentvolumesource is immutable after creation\n"
        text += difference(source_of(before), source_of(after))
        errors.append(field_forbidden("spec.persistentvolumesource", text))
    errors += immutable(after.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    return errors


PERSISTENT_VOLUME = Kind(
    group="",
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    subresources=(status_of("PersistentVolume"),),
    strategy=Strategy(
        metadata_checks=0,
        check=_check,
        checks_on_update=2,
        check_update=_check_update,
        default=_default,
        create=_create,
        date=_date_phase,
        namespaced=False,
        status=True,
    ),
    columns=COLUMNS,
)
