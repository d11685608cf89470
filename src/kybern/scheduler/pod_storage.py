"""What a pod asks of storage and devices: claims, inline disks, resource claims. Pure."""

from collections.abc import Container, Sequence
from typing import Any

from kybern.api import volumes
from kybern.api.resource_claims import resource_claim_names
from kybern.scheduler.migrated_volumes import MIGRATED

Obj = dict[str, Any]

DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd")


def claim_names(pod: Obj) -> list[str]:
    """The claims of the pod's volumes, those of ephemeral volumes included."""
    return list(volumes.claim_names(pod).values())


def ephemeral_claim_names(pod: Obj) -> list[str]:
    declared = pod["spec"].get("volumes") or ()
    return [volumes.ephemeral_claim_name(pod, one) for one in declared if "ephemeral" in one]


def inline_disks(pod: Obj) -> list[tuple[str, Obj]]:
    """Disks that the pod names itself, of the kinds that two pods cannot always share."""
    declared = pod["spec"].get("volumes") or ()
    return [(kind, volume[kind]) for volume in declared for kind in DISKS if kind in volume]


def attached_disks(pod: Obj) -> list[Obj]:
    """Volumes that the pod names itself and a CSI driver attaches."""
    declared = pod["spec"].get("volumes") or ()
    return [volume for volume in declared if any(kind in volume for kind in MIGRATED)]


def storage_facts(pod: Obj, backed: Container[str]) -> Sequence[Any] | None:
    """All of the above for a shape's key; None for the many pods that ask nothing. ``backed`` are
    the extended resources that come as devices, too."""
    spec = pod["spec"]
    asks = bool(backed) and asks_for_any(spec, backed)
    if not asks and "volumes" not in spec and "resourceClaims" not in spec:
        return None
    disks = (inline_disks(pod), attached_disks(pod))
    facts = (claim_names(pod), *disks, resource_claim_names(pod))
    if not asks and not any(facts):
        return None
    # Claims that were made for one pod are checked against its identity.
    return (*facts, pod["metadata"].get("uid"))


def asks_for_any(spec: Obj, resources: Container[str]) -> bool:
    """Some container requests one of the resources."""
    containers = (*spec["containers"], *(spec.get("initContainers") or ()))
    return any(
        name in resources
        for container in containers
        for name in (container.get("resources") or {}).get("requests") or ()
    )


def is_fully_bound(claim: Obj) -> bool:
    is_marked = volumes.has_annotation(claim, volumes.BIND_COMPLETED)
    return bool(claim["spec"].get("volumeName")) and is_marked
