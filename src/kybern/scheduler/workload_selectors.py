"""Selectors of the workloads around a pod: what default spreading spreads by.

A pod counts with the pods of its Services and of its controller (ReplicationController, ReplicaSet
or StatefulSet). Fed by the scheduler's informers; asked once for each pod.
"""

from typing import Any

from kybern.api.selectors import LabelSelector

Obj = dict[str, Any]

OWNER_KINDS = ("ReplicationController", "ReplicaSet", "StatefulSet")


class WorkloadSelectors:
    """Service selectors by namespace, and controllers' selectors by uid."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, dict[str, str]]] = {}
        self._owners: dict[str, tuple[dict[str, str], LabelSelector]] = {}

    def service_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None:
            meta = old["metadata"]
            self._services.get(meta["namespace"], {}).pop(meta["name"], None)
        if new is not None and (selector := (new.get("spec") or {}).get("selector")):
            meta = new["metadata"]
            self._services.setdefault(meta["namespace"], {})[meta["name"]] = selector

    def owner_changed(self, old: Obj | None, new: Obj | None) -> None:
        """A ReplicationController, ReplicaSet or StatefulSet."""
        if old is not None:
            self._owners.pop(old["metadata"]["uid"], None)
        if new is None:
            return
        selector = (new.get("spec") or {}).get("selector") or {}
        if new["kind"] == "ReplicationController":
            self._owners[new["metadata"]["uid"]] = (selector, LabelSelector())
        else:
            self._owners[new["metadata"]["uid"]] = ({}, LabelSelector.from_object(selector))

    def of(self, pod: Obj) -> LabelSelector:
        """All of them at once; an empty selector if the pod belongs to nothing."""
        meta = pod["metadata"]
        labels = meta.get("labels") or {}
        wanted: dict[str, str] = {}
        for selector in self._services.get(meta.get("namespace", ""), {}).values():
            if selector.items() <= labels.items():
                wanted.update(selector)
        more = LabelSelector()
        owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
        if owner is not None and owner["kind"] in OWNER_KINDS and owner["uid"] in self._owners:
            plain, more = self._owners[owner["uid"]]
            wanted.update(plain)
        own = LabelSelector.from_labels(wanted)
        return LabelSelector(own.requirements + more.requirements)
