"""Cluster events: what happened, in the words plugins register for.

Informer changes become events here (``pod_changes``, ``node_changes``); the queue asks the plugins
that rejected a pod whether an event could help it (queueing hints). The names are upstream's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any

from kybern.scheduler.requests import requests_of

Obj = dict[str, Any]


class Action(IntFlag):
    """What was done to an object; updates are told apart by what they touched."""

    ADD = 1
    DELETE = 2
    UPDATE_NODE_ALLOCATABLE = 4
    UPDATE_NODE_LABEL = 8
    UPDATE_NODE_TAINT = 16
    UPDATE_NODE_CONDITION = 32
    UPDATE_NODE_ANNOTATION = 64
    UPDATE_POD_LABEL = 128
    UPDATE_POD_SCALE_DOWN = 256
    UPDATE_POD_TOLERATION = 512
    UPDATE_POD_GATES_ELIMINATED = 1024
    UPDATE_OTHER = 2048
    UPDATE_NODE_DECLARED_FEATURE = 4096
    UPDATE = 4 + 8 + 16 + 32 + 64 + 128 + 256 + 512 + 1024 + 2048 + 4096
    ALL = 3 + UPDATE


class EventResource(Enum):
    """The kinds that events speak of; pods are told apart by whether they are assigned."""

    POD = "Pod"
    ASSIGNED_POD = "AssignedPod"
    UNSCHEDULED_POD = "UnschedulablePod"
    NODE = "Node"
    NAMESPACE = "Namespace"
    PERSISTENT_VOLUME = "PersistentVolume"
    PERSISTENT_VOLUME_CLAIM = "PersistentVolumeClaim"
    STORAGE_CLASS = "storage.k8s.io/StorageClass"
    CSI_NODE = "storage.k8s.io/CSINode"
    CSI_DRIVER = "storage.k8s.io/CSIDriver"
    CSI_STORAGE_CAPACITY = "storage.k8s.io/CSIStorageCapacity"
    VOLUME_ATTACHMENT = "storage.k8s.io/VolumeAttachment"
    RESOURCE_CLAIM = "resource.k8s.io/ResourceClaim"
    RESOURCE_SLICE = "resource.k8s.io/ResourceSlice"
    DEVICE_CLASS = "resource.k8s.io/DeviceClass"
    WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """One thing that happened, or (in a registration) a set of them."""

    resource: EventResource
    action: Action

    @property
    def label(self) -> str:
        """As metrics and people call it."""
        if self.resource is EventResource.WILDCARD:
            return "ForceActivate"
        return f"{self.resource.value}{_ACTION_NAMES[self.action]}"

    def covers(self, event: "ClusterEvent") -> bool:
        """As a registration: whether ``event`` is one of those asked for."""
        # As plain numbers, many times faster than as flags; this is asked for every event.
        if not self.action.value & event.action.value:
            return False
        if self.resource is EventResource.POD:
            return event.resource in (EventResource.ASSIGNED_POD, EventResource.UNSCHEDULED_POD)
        return self.resource in (event.resource, EventResource.WILDCARD)


_ACTION_NAMES = {
    Action.ADD: "Add",
    Action.DELETE: "Delete",
    Action.UPDATE_NODE_ALLOCATABLE: "UpdateNodeAllocatable",
    Action.UPDATE_NODE_LABEL: "UpdateNodeLabel",
    Action.UPDATE_NODE_TAINT: "UpdateNodeTaint",
    Action.UPDATE_NODE_CONDITION: "UpdateNodeCondition",
    Action.UPDATE_NODE_ANNOTATION: "UpdateNodeAnnotation",
    Action.UPDATE_NODE_DECLARED_FEATURE: "UpdateNodeDeclaredFeature",
    Action.UPDATE_POD_LABEL: "UpdatePodLabel",
    Action.UPDATE_POD_SCALE_DOWN: "UpdatePodScaleDown",
    Action.UPDATE_POD_TOLERATION: "UpdatePodToleration",
    Action.UPDATE_POD_GATES_ELIMINATED: "UpdatePodSchedulingGatesEliminated",
    Action.UPDATE_OTHER: "Update",
    Action.UPDATE: "Update",
    Action.ALL: "All",
}

NODE_ADD = ClusterEvent(EventResource.NODE, Action.ADD)
NODE_DELETE = ClusterEvent(EventResource.NODE, Action.DELETE)
ASSIGNED_POD_ADD = ClusterEvent(EventResource.ASSIGNED_POD, Action.ADD)
ASSIGNED_POD_DELETE = ClusterEvent(EventResource.ASSIGNED_POD, Action.DELETE)
UNSCHEDULED_POD_ADD = ClusterEvent(EventResource.UNSCHEDULED_POD, Action.ADD)
WILDCARD = ClusterEvent(EventResource.WILDCARD, Action.ALL)


class Hint(Enum):
    """Whether an event is worth another attempt."""

    QUEUE = "Queue"
    SKIP = "QueueSkip"


HintFunction = Callable[[Obj, Obj | None, Obj | None], Hint]


def always(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    return Hint.QUEUE


@dataclass(frozen=True, slots=True)
class Registration:
    """The events that may help a pod that a plugin rejected, and the function that looks closer:
    ``hint(pod, old, new)``."""

    event: ClusterEvent
    hint: HintFunction = always


def queue_if(condition: bool) -> Hint:
    return Hint.QUEUE if condition else Hint.SKIP


def pod_changes(old: Obj, new: Obj) -> list[ClusterEvent]:
    """What an update of a pod means to scheduling; a plain update if nothing special."""
    assigned = bool(new["spec"].get("nodeName"))
    resource = EventResource.ASSIGNED_POD if assigned else EventResource.UNSCHEDULED_POD
    actions: list[Action] = []
    if old["metadata"].get("labels") != new["metadata"].get("labels"):
        actions.append(Action.UPDATE_POD_LABEL)
    if _scaled_down(old, new):
        actions.append(Action.UPDATE_POD_SCALE_DOWN)
    if old["spec"].get("schedulingGates") and not new["spec"].get("schedulingGates"):
        actions.append(Action.UPDATE_POD_GATES_ELIMINATED)
    if len(old["spec"].get("tolerations") or ()) != len(new["spec"].get("tolerations") or ()):
        actions.append(Action.UPDATE_POD_TOLERATION)
    return [ClusterEvent(resource, action) for action in actions or [Action.UPDATE_OTHER]]


def node_changes(old: Obj, new: Obj) -> list[ClusterEvent]:
    """What an update of a node means to scheduling; nothing for a heartbeat."""
    old_spec, new_spec = old.get("spec") or {}, new.get("spec") or {}
    old_meta, new_meta = old["metadata"], new["metadata"]
    old_status, new_status = old.get("status") or {}, new.get("status") or {}
    actions: list[Action] = []
    if old_spec.get("unschedulable") and not new_spec.get("unschedulable"):
        actions.append(Action.UPDATE_NODE_TAINT)
    if old_status.get("allocatable") != new_status.get("allocatable"):
        actions.append(Action.UPDATE_NODE_ALLOCATABLE)
    if old_meta.get("labels") != new_meta.get("labels"):
        actions.append(Action.UPDATE_NODE_LABEL)
    if old_spec.get("taints") != new_spec.get("taints"):
        actions.append(Action.UPDATE_NODE_TAINT)
    if _condition_states(old_status) != _condition_states(new_status):
        actions.append(Action.UPDATE_NODE_CONDITION)
    if old_meta.get("annotations") != new_meta.get("annotations"):
        actions.append(Action.UPDATE_NODE_ANNOTATION)
    if old_status.get("declaredFeatures") != new_status.get("declaredFeatures"):
        actions.append(Action.UPDATE_NODE_DECLARED_FEATURE)
    return [ClusterEvent(EventResource.NODE, action) for action in actions]


def _condition_states(status: Obj) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status.get("conditions") or ()}


def _scaled_down(old: Obj, new: Obj) -> bool:
    before, after = requests_of(old), requests_of(new)
    if before == after:
        return False
    return any(after.amount(name) < amount for name, amount in before.items())
