"""PersistentVolumeClaim."""

from kybern.api.defaults.pod_spec import default_resource_list
from kybern.api.defaults.volumes import default_claim_spec
from kybern.api.errors import FieldError, Obj, field_forbidden
from kybern.api.kinds.columns import AGE, NAME, UNSET, at
from kybern.api.kinds.core.persistentvolume import access_modes, storage_class
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import copy
from kybern.api.quantity import Quantity
from kybern.api.validation.claims import claim_spec
from kybern.api.validation.difference import difference
from kybern.api.validation.metadata import immutable

_SOURCES = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


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
    _drop_unknown_source(claim["spec"])
    _same_sources(claim["spec"])


def _update(new: Obj, old: Obj) -> None:
    if not old["spec"].get("dataSource"):
        _drop_unknown_source(new["spec"])
    _same_sources(new["spec"])


def _drop_unknown_source(spec: Obj) -> None:
    """``dataSource`` names claims and snapshots alone; ``dataSourceRef`` takes anything."""
    source = spec.get("dataSource")
    if source is None or spec.get("dataSourceRef") is not None:
        return
    if (source.get("apiGroup") or "", source.get("kind")) not in _SOURCES:
        del spec["dataSource"]


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


_FROZEN = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims\n"
)


def _check(claim: Obj) -> list[FieldError]:
    return claim_spec(claim.get("spec") or {}, "spec")


def _storage(claim: Obj) -> Quantity:
    resources = (claim.get("spec") or {}).get("resources") or {}
    return Quantity.parse((resources.get("requests") or {}).get("storage", 0))


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    """A claim is fixed, but may be bound, and grow once it is bound."""
    after, before = copy(new.get("spec") or {}), copy(old.get("spec") or {})
    if not before.get("volumeName"):
        before["volumeName"] = after.get("volumeName")
    if before.get("storageClassName") is None:
        before["storageClassName"] = after.get("storageClassName")
    if (new.get("status") or {}).get("phase") == "Bound":
        for spec in (after, before):
            (spec.get("resources") or {}).pop("requests", None)
            spec.pop("volumeAttributesClassName", None)
    errors: list[FieldError] = []
    names = {*after, *before}
    if any(after.get(name) != before.get(name) for name in names):
        errors.append(field_forbidden("spec", _FROZEN + difference(before, after)))
    held = Quantity.parse(((old.get("status") or {}).get("capacity") or {}).get("storage", 0))
    if _storage(new) < _storage(old) and _storage(new) <= held:
        text = "field can not be less than status.capacity"
        errors.append(field_forbidden("spec.resources.requests.storage", text))
    return errors + immutable(after.get("volumeMode"), before.get("volumeMode"), "volumeMode")


PERSISTENT_VOLUME_CLAIM = Kind(
    group="",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    subresources=(status_of("PersistentVolumeClaim"),),
    strategy=Strategy(
        metadata_checks=2,
        check=_check,
        check_update=_check_update,
        default=_default,
        create=_create,
        update=_update,
        status=True,
    ),
    columns=COLUMNS,
)
