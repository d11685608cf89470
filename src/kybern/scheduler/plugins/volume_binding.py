"""VolumeBinding: a pod runs where its volumes are, or where they can be.

Bound claims confine the pod to nodes that their volumes admit. Claims that wait for their first
consumer are matched with free volumes node by node (``volume_filter.py``), or provisioned for the
node that is chosen. ``plan`` says what the decision promises; ``prebind.py`` carries it out.
"""

from collections.abc import Sequence
from typing import Any

from kybern.api import objects
from kybern.api.volumes import storage_class
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Confinement, Filter, Plugin
from kybern.scheduler.plugins.claim_hints import claim_is_its
from kybern.scheduler.plugins.storage_capacity import volume_limit
from kybern.scheduler.plugins.volume_filter import VolumeFilter, VolumePlan
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import claim_names, ephemeral_claim_names, is_fully_bound

Obj = dict[str, Any]

MIGRATED_PLUGINS = "storage.alpha.kubernetes.io/migrated-plugins"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


class VolumeBinding(Plugin):
    name = "VolumeBinding"

    def confine(self, shape: PodShape) -> Confinement | None:
        if why := self._rejection(shape.pod):
            return Confinement(rejection=why)
        return None

    def filter(self, shape: PodShape) -> Filter | None:
        found = self._filter(shape.pod)
        return None if found is None or found.admits_all else found

    def plan(self, pod: Obj, row: int) -> VolumePlan:
        """What must happen to claims and volumes before the pod is bound to the row's node."""
        judge = self._filter(pod)
        return judge.plan(row) if judge is not None else VolumePlan()

    def registrations(self) -> Sequence[Registration]:
        changed = Action.ADD | Action.UPDATE
        return (
            Registration(ClusterEvent(EventResource.STORAGE_CLASS, changed), _class_changed),
            Registration(
                ClusterEvent(EventResource.PERSISTENT_VOLUME_CLAIM, changed), claim_is_its
            ),
            Registration(ClusterEvent(EventResource.PERSISTENT_VOLUME, changed)),
            Registration(ClusterEvent(EventResource.NODE, Action.ADD | Action.UPDATE_NODE_LABEL)),
            Registration(ClusterEvent(EventResource.CSI_NODE, changed), _csi_node_changed),
            Registration(ClusterEvent(EventResource.CSI_DRIVER, Action.UPDATE), _driver_changed),
            Registration(ClusterEvent(EventResource.CSI_STORAGE_CAPACITY, changed), _more_room),
        )

    def _filter(self, pod: Obj) -> VolumeFilter | None:
        claims = [claim for claim in self._claims(pod) if claim is not None]
        bound = [claim for claim in claims if is_fully_bound(claim)]
        waiting = [claim for claim in claims if not is_fully_bound(claim)]
        if not claims:
            return None
        return VolumeFilter(self.cluster, bound, waiting)

    def _claims(self, pod: Obj) -> list[Obj | None]:
        namespace = pod["metadata"].get("namespace", "")
        return [self.cluster.storage.claim(namespace, name) for name in claim_names(pod)]

    def _rejection(self, pod: Obj) -> str:
        """Why no node will do."""
        own = ephemeral_claim_names(pod)
        meta = pod["metadata"]
        claims = self._claims(pod)
        for name, claim in zip(claim_names(pod), claims, strict=True):
            if claim is None:
                if name in own:
                    waits = "waiting for ephemeral volume controller to create the"
                    return f'{waits} persistentvolumeclaim "{name}"'
                return f'persistentvolumeclaim "{name}" not found'
            if (claim.get("status") or {}).get("phase") == "Lost":
                volume = claim["spec"].get("volumeName", "")
                return (
                    f'persistentvolumeclaim "{name}" bound to non-existent '
                    f'persistentvolume "{volume}"'
                )
            if "deletionTimestamp" in claim["metadata"]:
                return f'persistentvolumeclaim "{name}" is being deleted'
            if name in own and not objects.is_controlled_by(claim, pod):
                namespace = meta["namespace"]
                return (
                    f"PVC {namespace}/{name} was not created for pod {namespace}/{meta['name']} "
                    "(pod is not owner)"
                )
        if any(claim is not None and self._is_late(claim) for claim in claims):
            return UNBOUND
        return ""

    def _is_late(self, claim: Obj) -> bool:
        """The claim should have been bound before there was a pod."""
        if is_fully_bound(claim):
            return False
        is_delayed = self.cluster.storage.is_delayed(storage_class(claim))
        return not is_delayed or bool(claim["spec"].get("volumeName"))


def _class_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or new is None:
        return Hint.QUEUE
    return queue_if(old.get("allowedTopologies") != new.get("allowedTopologies"))


def _csi_node_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or new is None:
        return Hint.QUEUE
    before, after = (one["metadata"].get("annotations") or {} for one in (old, new))
    return queue_if(before.get(MIGRATED_PLUGINS) != after.get(MIGRATED_PLUGINS))


def _driver_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """The driver of an inline volume counts its storage no more."""
    if old is None or new is None:
        return Hint.SKIP
    volumes = pod["spec"].get("volumes") or ()
    names = {volume["csi"]["driver"] for volume in volumes if "csi" in volume}
    counted, counts = (bool((one.get("spec") or {}).get("storageCapacity")) for one in (old, new))
    return queue_if(new["metadata"]["name"] in names and counted and not counts)


def _more_room(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or new is None:
        return Hint.QUEUE
    before, after = volume_limit(old), volume_limit(new)
    return queue_if(after is not None and (before is None or after > before))
