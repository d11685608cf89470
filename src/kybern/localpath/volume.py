"""The objects of the built-in class: what is asked of it, and the volumes it answers with. Pure."""

from kybern.api import objects, volumes
from kybern.api.errors import Obj

NAME = "kybern.io/local-path"
HOSTNAME = "kubernetes.io/hostname"
# Removed once the data is gone, whoever deletes the volume first.
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
# A class with this parameter makes volumes that hold what was asked for, and no more.
CAPACITY = "capacity"
ENFORCED = "enforced"
_NODE_ONLY = ("ReadWriteOnce", "ReadWriteOncePod")


def name_for(claim: Obj) -> str:
    return f"pvc-{objects.uid(claim)}"


def is_asked(claim: Obj, node: str) -> bool:
    """Whether a claim waits for a volume on this node."""
    marks = objects.annotations(claim)
    return (
        marks.get(volumes.PROVISIONER) == NAME
        and marks.get(volumes.SELECTED_NODE) == node
        and not claim["spec"].get("volumeName")
        and not objects.is_deleting(claim)
    )


def wants_image(claim: Obj, storage_class: Obj) -> bool:
    """Whether the volume is an image: where its capacity is to hold, and for a block device."""
    parameters = storage_class.get("parameters") or {}
    return parameters.get(CAPACITY) == ENFORCED or volumes.volume_mode(claim) == "Block"


def problem(claim: Obj, storage_class: Obj) -> str:
    """Why a claim cannot be served, empty if it can."""
    spec = claim["spec"]
    if any(mode not in _NODE_ONLY for mode in volumes.access_modes(claim)):
        return f"access modes other than {' and '.join(_NODE_ONLY)} are not supported"
    if spec.get("selector") is not None:
        return "claim Selector is not supported"
    if spec.get("dataSource") is not None or spec.get("dataSourceRef") is not None:
        return "data sources are not supported"
    for key, value in (storage_class.get("parameters") or {}).items():
        if key != CAPACITY or value != ENFORCED:
            return f'unknown parameter {key}: "{value}"'
    return ""


def volume_for(claim: Obj, storage_class: Obj, path: str, hostname: str) -> Obj:
    """The volume at ``path`` for a claim; only nodes of this hostname reach it."""
    here = {"key": HOSTNAME, "operator": "In", "values": [hostname]}
    policy = storage_class.get("reclaimPolicy") or "Delete"
    metadata: Obj = {
        "name": name_for(claim),
        "annotations": {volumes.PROVISIONED_BY: NAME},
    }
    if policy == "Delete":
        metadata["finalizers"] = [FINALIZER]
    return {
        "metadata": metadata,
        "spec": {
            "capacity": {"storage": volumes.requested(claim).canonical()},
            "accessModes": volumes.access_modes(claim),
            "volumeMode": volumes.volume_mode(claim),
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": volumes.storage_class(claim),
            "mountOptions": storage_class.get("mountOptions") or [],
            "claimRef": volumes.claim_reference(claim),
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def is_of(volume: Obj, hostname: str) -> bool:
    """Whether this node's provisioner made a volume."""
    if objects.annotations(volume).get(volumes.PROVISIONED_BY) != NAME:
        return False
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    return any(
        expression["key"] == HOSTNAME and hostname in (expression.get("values") or ())
        for term in required.get("nodeSelectorTerms") or ()
        for expression in term.get("matchExpressions") or ()
    )


def is_to_go(volume: Obj) -> bool:
    """The binder has found the claim gone, and nobody wants to keep the data."""
    policy = volume["spec"].get("persistentVolumeReclaimPolicy")
    return objects.status(volume).get("phase") == "Released" and policy == "Delete"
