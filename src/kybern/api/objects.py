"""Accessors for objects, which are plain JSON dicts everywhere.

They tolerate absent fields and return read-only views: callers that change an object from an
informer or a cache take a :func:`copy` first.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

Obj = dict[str, Any]

_NONE: Mapping[str, str] = {}


def copy(obj: Obj) -> Obj:
    """A deep copy that the caller owns."""
    duplicate: Obj = orjson.loads(orjson.dumps(obj))
    return duplicate


def meta(obj: Obj) -> Obj:
    """``metadata``, which every stored object has."""
    metadata: Obj = obj["metadata"]
    return metadata


def spec(obj: Obj) -> Obj:
    """``spec``, or an empty dict that belongs to nobody."""
    return obj.get("spec") or {}


def status(obj: Obj) -> Obj:
    """``status``, or an empty dict that belongs to nobody."""
    return obj.get("status") or {}


def name(obj: Obj) -> str:
    return obj["metadata"].get("name", "")


def namespace(obj: Obj) -> str:
    """The namespace; empty for cluster-scoped objects."""
    return obj["metadata"].get("namespace", "")


def uid(obj: Obj) -> str:
    return obj["metadata"].get("uid", "")


def resource_version(obj: Obj) -> str:
    return obj["metadata"].get("resourceVersion", "")


def generation(obj: Obj) -> int:
    return obj["metadata"].get("generation", 0)


def labels(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or _NONE


def annotations(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or _NONE


def finalizers(obj: Obj) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def key(obj: Obj) -> str:
    """``namespace/name``, or ``name`` for cluster-scoped objects: what work queues carry."""
    metadata = obj["metadata"]
    space = metadata.get("namespace")
    return f"{space}/{metadata['name']}" if space else metadata["name"]


def split_key(text: str) -> tuple[str, str]:
    """The namespace (empty for cluster-scoped objects) and name of a :func:`key`."""
    space, _, own = text.rpartition("/")
    return space, own


def is_deleting(obj: Obj) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def owner_references(obj: Obj) -> list[Obj]:
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference with ``controller: true``."""
    for reference in owner_references(obj):
        if reference.get("controller"):
            return reference
    return None


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid(owner)


def controller_reference(owner: Obj) -> Obj:
    """The reference that a controller puts into the objects it makes for ``owner``."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def conditions(obj: Obj) -> list[Obj]:
    return status(obj).get("conditions") or []


def condition(obj: Obj, type_: str) -> Obj | None:
    """The condition of a type in ``status.conditions``."""
    for found in conditions(obj):
        if found.get("type") == type_:
            return found
    return None


def condition_is(obj: Obj, type_: str, value: str = "True") -> bool:
    found = condition(obj, type_)
    return found is not None and found.get("status") == value


def set_condition(
    obj: Obj, type_: str, value: str, reason: str, message: str, now: str, **extra: Any
) -> bool:
    """Set a condition in an object that the caller owns; True if anything changed.

    ``now`` becomes ``lastTransitionTime`` only if the status changes. ``extra`` sets further
    fields, such as ``lastUpdateTime`` or ``observedGeneration``, without counting as a change.
    """
    state = obj.setdefault("status", {})
    held: list[Obj] = state.get("conditions") or []
    state["conditions"] = held
    current = next((c for c in held if c.get("type") == type_), None)
    wanted = {"type": type_, "status": value, "reason": reason, "message": message}
    wanted = {field: text for field, text in wanted.items() if text}
    if current is None:
        held.append({**wanted, "lastTransitionTime": now, **extra})
        return True
    changed = any(current.get(f, "") != wanted.get(f, "") for f in ("status", "reason", "message"))
    if not changed:
        return False
    if current.get("status") != value:
        current["lastTransitionTime"] = now
    for field in ("status", "reason", "message"):
        if field in wanted:
            current[field] = wanted[field]
        else:
            current.pop(field, None)
    current.update(extra)
    return True


def pod_phase(pod: Obj) -> str:
    return status(pod).get("phase", "")


def is_pod_ready(pod: Obj) -> bool:
    """Whether the pod's Ready condition is True."""
    return condition_is(pod, "Ready")


def is_pod_terminal(pod: Obj) -> bool:
    """Whether all containers have ended for good."""
    return pod_phase(pod) in ("Succeeded", "Failed")


def is_pod_active(pod: Obj) -> bool:
    """Whether the pod counts for its controller: neither ended nor on its way out."""
    return not is_pod_terminal(pod) and not is_deleting(pod)


def is_pod_available(pod: Obj, min_ready_seconds: int, now: float) -> bool:
    """Whether the pod has been ready for at least ``min_ready_seconds``."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return False
    if min_ready_seconds == 0:
        return True
    since = ready.get("lastTransitionTime")
    return since is not None and epoch(since) + min_ready_seconds <= now


def epoch(timestamp: str) -> float:
    """A ``Time`` or ``MicroTime`` as seconds since the epoch; raises ValueError."""
    return datetime.fromisoformat(timestamp).timestamp()
