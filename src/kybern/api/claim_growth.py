"""The status of a claim while its volume grows, step by step and in upstream's words. Pure.

Who grows volumes makes the volume larger and leaves the claim ``awaiting_node``; the kubelet makes
what is on it larger, and the claim has ``grown``.
"""

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.quantity import Quantity

_PENDING = "FileSystemResizePending"
_IN_PROGRESS = ("Resizing", _PENDING)


def awaiting_node(claim: Obj, size: Quantity, now: str) -> Obj:
    """The claim's status when the volume has grown, and the file system has not."""
    wanted = objects.copy(claim)
    message = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
    objects.set_condition(wanted, _PENDING, "True", "", message, now)
    status: Obj = wanted["status"]
    status["allocatedResources"] = {"storage": size.canonical()}
    status["allocatedResourceStatuses"] = {"storage": "NodeResizePending"}
    return status


def grown(claim: Obj, size: Quantity) -> Obj:
    """The claim's status when nothing is left to do."""
    status = dict(objects.status(claim))
    status["capacity"] = {**(status.get("capacity") or {}), "storage": size.canonical()}
    status["allocatedResources"] = {"storage": size.canonical()}
    status.pop("allocatedResourceStatuses", None)
    left = [c for c in status.get("conditions") or () if c["type"] not in _IN_PROGRESS]
    status.pop("conditions", None)
    return {**status, "conditions": left} if left else status
