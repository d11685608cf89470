"""The pod's status as the scheduler writes it: the PodScheduled condition, the nominated node."""

from typing import Any

from kybern.api.errors import StatusError
from kybern.api.resources import PODS
from kybern.client.client import Client

Obj = dict[str, Any]

NOTE_LIMIT = 1024


def scheduled_condition(pod: Obj, reason: str, message: str, now: str) -> Obj | None:
    """The condition of a pod that has no node; None if the pod says exactly that already."""
    old = next((c for c in _conditions(pod) if c["type"] == "PodScheduled"), None)
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    if old is None:
        return condition
    if old["status"] == "False":
        condition["lastTransitionTime"] = old.get("lastTransitionTime", now)
    return None if all(old.get(key) == value for key, value in condition.items()) else condition


async def patch_status(client: Client, pod: Obj, status: Obj) -> None:
    """Merge into the status of this very pod; one that is gone needs no status."""
    meta = pod["metadata"]
    patch = {"metadata": {"uid": meta["uid"]}, "status": status}
    try:
        await client.patch(
            PODS,
            meta["name"],
            patch,
            meta["namespace"],
            kind="strategic",
            subresource="status",
        )
    except StatusError as error:
        if error.reason not in ("NotFound", "Conflict"):
            raise


def event_note(message: str) -> str:
    """An event's note has a limit; the condition keeps the whole text."""
    if len(message.encode()) <= NOTE_LIMIT:
        return message
    suffix = " ..."
    cut = message.encode()[: NOTE_LIMIT - len(suffix)]
    return cut.decode(errors="ignore") + suffix


def _conditions(pod: Obj) -> list[Obj]:
    return (pod.get("status") or {}).get("conditions") or []
