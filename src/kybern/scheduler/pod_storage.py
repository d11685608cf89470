"""What a pod asks of storage and devices: claims, inline disks, resource claims. Pure."""

from collections.abc import Sequence
from typing import Any

from kybern.api import volumes
from kybern.api.resource_claims import resource_claim_names

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


def storage_facts(pod: Obj) -> Sequence[Any] | None:
    """All of the above for a shape's key; None for the many pods that ask nothing."""
    facts = (claim_names(pod), inline_disks(pod), resource_claim_names(pod))
    if not any(facts):
        return None
    # Claims that were made for one pod are checked against its identity.
    return (*facts, pod["metadata"].get("uid"))


def is_fully_bound(claim: Obj) -> bool:
    is_marked = volumes.has_annotation(claim, volumes.BIND_COMPLETED)
    return bool(claim["spec"].get("volumeName")) and is_marked
