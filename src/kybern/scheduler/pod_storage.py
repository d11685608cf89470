"""What a pod asks of storage and devices: claims, inline disks, resource claims. Pure."""

from collections.abc import Sequence
from typing import Any

from kybern.api.resource_claims import resource_claim_names

Obj = dict[str, Any]

DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def claim_names(pod: Obj) -> list[str]:
    """The claims of the pod's volumes, those of ephemeral volumes included."""
    names: list[str] = []
    for volume in pod["spec"].get("volumes") or ():
        if (source := volume.get("persistentVolumeClaim")) is not None:
            names.append(source.get("claimName", ""))
        elif "ephemeral" in volume:
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return names


def ephemeral_claim_names(pod: Obj) -> list[str]:
    volumes = pod["spec"].get("volumes") or ()
    return [f"{pod['metadata']['name']}-{v['name']}" for v in volumes if "ephemeral" in v]


def inline_disks(pod: Obj) -> list[tuple[str, Obj]]:
    """Disks that the pod names itself, of the kinds that two pods cannot always share."""
    volumes = pod["spec"].get("volumes") or ()
    return [(kind, volume[kind]) for volume in volumes for kind in DISKS if kind in volume]


def storage_facts(pod: Obj) -> Sequence[Any] | None:
    """All of the above for a shape's key; None for the many pods that ask nothing."""
    facts = (claim_names(pod), inline_disks(pod), resource_claim_names(pod))
    if not any(facts):
        return None
    # Claims that were made for one pod are checked against its identity.
    return (*facts, pod["metadata"].get("uid"))


def storage_class(obj: Obj) -> str:
    """The class of a claim or a volume; the old annotation wins."""
    annotations = obj["metadata"].get("annotations") or {}
    if CLASS_ANNOTATION in annotations:
        return str(annotations[CLASS_ANNOTATION])
    return obj["spec"].get("storageClassName") or ""


def is_fully_bound(claim: Obj) -> bool:
    annotations = claim["metadata"].get("annotations") or {}
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations


def is_for(claim: Obj, pod: Obj) -> bool:
    """The pod controls the claim."""
    return any(
        owner.get("controller") and owner["uid"] == pod["metadata"]["uid"]
        for owner in claim["metadata"].get("ownerReferences") or ()
    )
