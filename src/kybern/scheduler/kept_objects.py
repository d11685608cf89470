"""What the scheduler keeps of pods and nodes: what decisions, evictions and explanations read.

A parsed object takes five times its text, and a cluster has tens of thousands of pods: informers
pass each through here as it arrives. Bound pods lose what only their node needs; what replicas and
nodes have in common is kept once. Pods that wait stay whole, but for who manages which field.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import orjson

from kybern.scheduler.migrated_volumes import MIGRATED
from kybern.scheduler.pod_storage import DISKS

Obj = dict[str, Any]

METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "ownerReferences",
    "deletionTimestamp",
)
SPEC = (
    "nodeName",
    "schedulerName",
    "priority",
    "preemptionPolicy",
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "overhead",
    "resources",
    "resourceClaims",
)
CONTAINER = ("name", "image", "resources", "ports", "restartPolicy")
STATUS = (
    "phase",
    "startTime",
    "nominatedNodeName",
    "resourceClaimStatuses",
    "resources",
    "allocatedResources",
)
CONTAINER_STATUS = ("name", "resources", "allocatedResources")
CONDITIONS = ("PodScheduled", "PodResizePending", "DisruptionTarget")
VOLUMES = ("persistentVolumeClaim", "ephemeral", "image", *DISKS, *MIGRATED)

REMEMBERED = 16_384


class KeptObjects:
    """Slims objects; remembers up to ``REMEMBERED`` parts to share."""

    def __init__(self) -> None:
        self._parts: OrderedDict[bytes, Any] = OrderedDict()

    def pod(self, obj: Obj) -> Obj:
        """A pod as it is kept; ``obj`` belongs to nobody else yet."""
        obj["metadata"].pop("managedFields", None)
        if not obj["spec"].get("nodeName"):
            return obj
        spec, status = obj["spec"], obj.get("status") or {}
        kept = self._picked(spec, SPEC)
        if volumes := [v for v in spec.get("volumes") or () if any(kind in v for kind in VOLUMES)]:
            kept["volumes"] = self._shared(volumes)
        for name in ("containers", "initContainers"):
            if name in spec:
                kept[name] = self._each(spec[name], CONTAINER)
        kept_status = self._picked(status, STATUS)
        for name in ("containerStatuses", "initContainerStatuses"):
            if name in status:
                kept_status[name] = self._each(status[name], CONTAINER_STATUS)
        if conditions := [c for c in status.get("conditions") or () if c["type"] in CONDITIONS]:
            kept_status["conditions"] = self._shared(conditions)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._picked(obj["metadata"], METADATA),
            "spec": kept,
            "status": kept_status,
        }

    def node(self, obj: Obj) -> Obj:
        """A node as it is kept: whole, with images that others have too."""
        obj["metadata"].pop("managedFields", None)
        if images := (obj.get("status") or {}).get("images"):
            obj["status"]["images"] = [self._shared(image) for image in images]
        return obj

    def _picked(self, obj: Obj, names: Iterable[str]) -> Obj:
        return {
            name: self._shared(value) if isinstance(value := obj[name], dict | list) else value
            for name in names
            if name in obj
        }

    def _each(self, objects: list[Obj], names: Iterable[str]) -> Any:
        return self._shared([{name: obj[name] for name in names if name in obj} for obj in objects])

    def _shared(self, part: Any) -> Any:
        """An equal part that another object has, or this one from now on."""
        key = orjson.dumps(part)
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = part
            if len(self._parts) > REMEMBERED:
                self._parts.popitem(last=False)
        return found
