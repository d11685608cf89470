"""Intake: what informers report becomes columns, queue entries and cluster events.

The scheduler registers these handlers; nothing here waits. Pods that the scheduler has assumed
(decided, bind under way) are placed already: their own bound event only confirms.
"""

from collections.abc import Callable, Container
from typing import Any

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import DEFAULT_SCHEDULER
from kybern.scheduler.events import (
    ASSIGNED_POD_ADD,
    ASSIGNED_POD_DELETE,
    NODE_ADD,
    NODE_DELETE,
    Action,
    ClusterEvent,
    EventResource,
    node_changes,
    pod_changes,
)
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.queue import SchedulingQueue

Obj = dict[str, Any]


class Intake:
    """Feeds one scheduler; ``assumed`` maps the uid of each assumed pod to its node."""

    def __init__(
        self,
        cluster: ClusterColumns,
        queue: SchedulingQueue,
        nominations: Nominations,
        scheduler_names: Container[str],
    ) -> None:
        self.assumed: dict[str, str] = {}
        self._cluster = cluster
        self._queue = queue
        self._nominations = nominations
        self._scheduler_names = scheduler_names

    def node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None:
            assert old is not None
            self._queue.move(NODE_DELETE, old, None)
            self._cluster.remove_node(old["metadata"]["name"])
            return
        self._cluster.set_node(new)
        events = [NODE_ADD] if old is None else node_changes(old, new)
        for event in events:
            self._queue.move(event, old, new)

    def namespace_changed(self, old: Obj | None, new: Obj | None) -> None:
        known = new if new is not None else old
        assert known is not None
        labels = None if new is None else new["metadata"].get("labels") or {}
        self._cluster.set_namespace(known["metadata"]["name"], labels)
        if new is not None:
            action = Action.ADD if old is None else Action.UPDATE_OTHER
            self._queue.move(ClusterEvent(EventResource.NAMESPACE, action), old, new)

    def storage_changed(
        self, resource: EventResource, note: Callable[[Obj | None, Obj | None], None]
    ) -> Callable[[Obj | None, Obj | None], None]:
        """A handler for one kind of storage object; ``note`` puts the change into the columns."""

        def changed(old: Obj | None, new: Obj | None) -> None:
            note(old, new)
            action = Action.UPDATE_OTHER if new is not None else Action.DELETE
            action = Action.ADD if old is None else action
            self._queue.move(ClusterEvent(resource, action), old, new)

        return changed

    def pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is not None:
            if old["metadata"]["uid"] == new["metadata"]["uid"]:
                self._pod_updated(old, new)
                return
            # One name, another pod: the deletion in between was missed.
            self._pod_deleted(old)
            old = None
        if new is None:
            assert old is not None
            self._pod_deleted(old)
        elif is_assigned(new):
            self._pod_bound(new)
        elif self._is_responsible(new):
            self._note_nomination(new)
            self._queue.add(new)

    def forget(self, pod: Obj) -> None:
        """Un-assume: the pod did not get its node after all, which frees it for others."""
        uid = pod["metadata"]["uid"]
        node = self.assumed.pop(uid, None)
        if node is None:
            return
        self._cluster.remove(uid)
        freed = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        self._queue.move(ASSIGNED_POD_DELETE, freed, None)

    def _pod_updated(self, old: Obj, new: Obj) -> None:
        if is_assigned(old):
            self._cluster.place(new, new["spec"]["nodeName"])
            for event in pod_changes(old, new):
                self._queue.move(event, old, new)
        elif is_assigned(new):
            self._pod_bound(new)
        elif self._is_responsible(new):
            self._pending_pod_updated(old, new)

    def _pending_pod_updated(self, old: Obj, new: Obj) -> None:
        if new["metadata"]["uid"] in self.assumed:
            deleting = "deletionTimestamp" in new["metadata"]
            if deleting and "deletionTimestamp" not in old["metadata"]:
                self.forget(new)
            return
        before, after = _nominated_node(old), _nominated_node(new)
        if before != after:
            self._note_nomination(new)
        self._queue.update(old, new)
        if before and before != after:
            self._queue.move(ASSIGNED_POD_DELETE, old, None, _at_most_priority_of(old))

    def _pod_bound(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        self.assumed.pop(uid, None)
        self._nominations.remove(uid)
        self._queue.delete(uid)
        self._cluster.place(pod, pod["spec"]["nodeName"])
        self._queue.move(ASSIGNED_POD_ADD, None, pod)

    def _pod_deleted(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        nominated = self._nominations.node_of(uid)
        self._nominations.remove(uid)
        self._queue.delete(uid)
        if uid in self.assumed:
            self.forget(pod)
        elif self._cluster.remove(uid) is not None or is_assigned(pod):
            self._queue.move(ASSIGNED_POD_DELETE, pod, None)
        elif nominated:
            self._queue.move(ASSIGNED_POD_DELETE, pod, None, _at_most_priority_of(pod))

    def _note_nomination(self, pod: Obj) -> None:
        node = _nominated_node(pod)
        if node:
            self._nominations.add(pod, node)
        else:
            self._nominations.remove(pod["metadata"]["uid"])

    def _is_responsible(self, pod: Obj) -> bool:
        return (pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER) in self._scheduler_names


def is_assigned(pod: Obj) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _nominated_node(pod: Obj) -> str:
    return (pod.get("status") or {}).get("nominatedNodeName") or ""


def _at_most_priority_of(pod: Obj) -> Callable[[Obj], bool]:
    """Only these counted the nominated pod as if it were there."""
    priority = pod["spec"].get("priority") or 0
    return lambda other: (other["spec"].get("priority") or 0) <= priority
