"""Persistent volumes and their claims: annotations, sizes, and who belongs to whom. Pure.

The binder, the attach/detach controller, provisioners and the kubelet read claims and volumes
through these accessors; the annotations are the interface between them.
"""

import hashlib

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.quantity import Quantity

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
IS_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BETA_IS_DEFAULT_CLASS = "storageclass.beta.kubernetes.io/is-default-class"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"

READ_WRITE_ONCE = "ReadWriteOnce"
SHARED_MODES = ("ReadWriteMany", "ReadOnlyMany")


def has_annotation(obj: Obj, name: str) -> bool:
    return name in objects.annotations(obj)


def annotated(obj: Obj, **values: str) -> Obj:
    """The object with annotations set; use as ``annotated(obj, **{NAME: "yes"})``."""
    kept = {**objects.annotations(obj), **values}
    return {**obj, "metadata": {**obj["metadata"], "annotations": kept}}


def storage_class(obj: Obj) -> str:
    """The class of a claim or a volume; the old annotation wins."""
    return str(objects.annotations(obj).get(_BETA_CLASS, obj["spec"].get("storageClassName") or ""))


def has_class(claim: Obj) -> bool:
    """Whether the claim says anything about its class, were it only that it wants none."""
    return has_annotation(claim, _BETA_CLASS) or claim["spec"].get("storageClassName") is not None


def is_default_class(found: Obj) -> bool:
    marks = objects.annotations(found)
    return "true" in (marks.get(IS_DEFAULT_CLASS), marks.get(BETA_IS_DEFAULT_CLASS))


def requested(claim: Obj) -> Quantity:
    """How much a claim asks for."""
    return _storage((claim["spec"].get("resources") or {}).get("requests"))


def capacity(volume: Obj) -> Quantity:
    """How much a volume has."""
    return _storage(volume["spec"].get("capacity"))


def held_capacity(claim: Obj) -> Quantity:
    """How much a claim has got."""
    return _storage(objects.status(claim).get("capacity"))


def _storage(amounts: Obj | None) -> Quantity:
    return Quantity.parse((amounts or {}).get("storage", "0"))


def volume_mode(obj: Obj) -> str:
    """``Filesystem`` or ``Block``, of a claim or a volume."""
    return obj["spec"].get("volumeMode") or "Filesystem"


def attributes_class(obj: Obj) -> str:
    return obj["spec"].get("volumeAttributesClassName") or ""


def access_modes(obj: Obj) -> list[str]:
    return obj["spec"].get("accessModes") or []


def is_shared(volume: Obj) -> bool:
    """Whether several nodes may have the volume at a time; one without modes may be shared."""
    modes = access_modes(volume)
    return not modes or any(mode in SHARED_MODES for mode in modes)


def claim_key(volume: Obj) -> str:
    """``namespace/name`` of the claim that a volume refers to, empty if there is none."""
    reference = volume["spec"].get("claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def is_bound_to(volume: Obj, claim: Obj) -> bool:
    """The volume refers to the claim, or is reserved for one of its name."""
    reference = volume["spec"].get("claimRef") or {}
    return claim_key(volume) == objects.key(claim) and reference.get("uid") in (
        None,
        "",
        objects.uid(claim),
    )


def claim_reference(claim: Obj) -> Obj:
    """What a volume's ``claimRef`` says of a claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": objects.namespace(claim),
        "name": objects.name(claim),
        "uid": objects.uid(claim),
        "resourceVersion": objects.resource_version(claim),
    }


def claim_names(pod: Obj) -> dict[str, str]:
    """The claims of a pod's volumes by volume name, those made for the pod included."""
    found: dict[str, str] = {}
    for volume in pod["spec"].get("volumes") or ():
        if (source := volume.get("persistentVolumeClaim")) is not None:
            found[volume["name"]] = source.get("claimName", "")
        elif "ephemeral" in volume:
            found[volume["name"]] = ephemeral_claim_name(pod, volume)
    return found


def ephemeral_claim_name(pod: Obj, volume: Obj) -> str:
    return f"{objects.name(pod)}-{volume['name']}"


def claim_keys(pod: Obj) -> list[str]:
    """The keys of the pod's claims."""
    return [f"{objects.namespace(pod)}/{name}" for name in claim_names(pod).values()]


def csi_volume_name(source: Obj) -> str:
    """The name of a CSI volume in a Node's ``volumesInUse`` and ``volumesAttached``."""
    return f"kubernetes.io/csi/{source['driver']}^{source['volumeHandle']}"


def attachment_name(source: Obj, node: str) -> str:
    """The name that the controller and the kubelet both give a CSI volume's attachment."""
    told = f"{source['volumeHandle']}{source['driver']}{node}"
    return f"csi-{hashlib.sha256(told.encode()).hexdigest()}"
