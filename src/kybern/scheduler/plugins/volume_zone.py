"""VolumeZone: a pod runs in the zones and regions that its volumes are labelled with."""

from collections.abc import Sequence
from typing import Any

import orjson

from kybern.api.volumes import storage_class
from kybern.scheduler.columns.column import Mask
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.node_selector import SelectorMask
from kybern.scheduler.plugin import Confinement, Filter, Plugin
from kybern.scheduler.plugins.claim_hints import claim_is_its
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import claim_names

Obj = dict[str, Any]

TODAY = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
LABELS = (*TODAY, *TODAY.values())


class VolumeZone(Plugin):
    name = "VolumeZone"

    def confine(self, shape: PodShape) -> Confinement | None:
        why = self._rejection(shape)
        return Confinement(rejection=why) if why else None

    def filter(self, shape: PodShape) -> Filter | None:
        storage = self.cluster.storage
        wanted: list[tuple[str, list[str]]] = []
        for name in claim_names(shape.pod):
            claim = storage.claim(shape.namespace, name) or {"spec": {}}
            volume = storage.volumes.get(claim["spec"].get("volumeName") or "")
            labels = volume["metadata"].get("labels") or {} if volume is not None else {}
            wanted += [(key, labels[key].split("__")) for key in LABELS if key in labels]
        return ZoneFilter(self, wanted) if wanted else None

    def registrations(self) -> Sequence[Registration]:
        changed = Action.ADD | Action.UPDATE
        return (
            Registration(ClusterEvent(EventResource.STORAGE_CLASS, Action.ADD), _class_waits),
            Registration(ClusterEvent(EventResource.NODE, Action.ADD | Action.UPDATE_NODE_LABEL)),
            Registration(
                ClusterEvent(EventResource.PERSISTENT_VOLUME_CLAIM, changed), claim_is_its
            ),
            Registration(ClusterEvent(EventResource.PERSISTENT_VOLUME, changed), _volume_moved),
        )

    def _rejection(self, shape: PodShape) -> str:
        """Why no node will do, whatever its zone."""
        storage = self.cluster.storage
        for name in claim_names(shape.pod):
            if not name:
                return "PersistentVolumeClaim had no name"
            claim = storage.claim(shape.namespace, name)
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if volume := claim["spec"].get("volumeName"):
                if volume not in storage.volumes:
                    return f'persistentvolume "{volume}" not found'
                continue
            class_name = storage_class(claim)
            if not class_name:
                return "PersistentVolumeClaim had no pv name and storageClass name"
            if class_name not in storage.classes:
                return f'storageclass.storage.k8s.io "{class_name}" not found'
            if not storage.is_delayed(class_name):
                return "PersistentVolume had no name"
        return ""


def _class_waits(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    delayed = "WaitForFirstConsumer"
    return queue_if(new is not None and new.get("volumeBindingMode") == delayed)


def _volume_moved(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if old is None or new is None:
        return Hint.QUEUE
    before, after = (one["metadata"].get("labels") or {} for one in (old, new))
    return queue_if(any(before.get(key) != after.get(key) for key in LABELS))


class ZoneFilter(Filter):
    """Nodes without any zone or region label are not judged."""

    reason = "node(s) had no available volume zone"

    def __init__(self, plugin: VolumeZone, wanted: Sequence[tuple[str, list[str]]]) -> None:
        self.key = orjson.dumps(wanted)
        nodes = plugin.cluster.nodes
        labelled = [_term(key, "Exists") for key in LABELS]
        self._is_labelled = SelectorMask(nodes, {}, labelled)
        self._wanted = [SelectorMask(nodes, {}, _zone_terms(*one)) for one in wanted]

    def feasible(self, rows: Any) -> Mask:
        matches = ~self._is_labelled.over(rows)
        inside: Mask = ~matches
        for mask in self._wanted:
            inside &= mask.over(rows)
        return matches | inside


def _zone_terms(key: str, values: list[str]) -> list[Obj]:
    """The label itself; where a node lacks it, today's name of an old label."""
    terms = [_term(key, "In", values)]
    if key in TODAY:
        missing = {"key": key, "operator": "DoesNotExist"}
        found = {"key": TODAY[key], "operator": "In", "values": values}
        terms.append({"matchExpressions": [missing, found]})
    return terms


def _term(key: str, operator: str, values: Sequence[str] = ()) -> Obj:
    expression: Obj = {"key": key, "operator": operator}
    if values:
        expression["values"] = list(values)
    return {"matchExpressions": [expression]}
