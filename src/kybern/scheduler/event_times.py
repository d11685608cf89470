"""How long the scheduler takes to handle what its informers report, by event."""

from collections.abc import Callable
from typing import Any

from kybern.component.clock import Clock
from kybern.scheduler.events import (
    ASSIGNED_POD_ADD,
    ASSIGNED_POD_DELETE,
    NODE_ADD,
    NODE_DELETE,
    UNSCHEDULED_POD_ADD,
    Action,
    ClusterEvent,
    EventResource,
    node_changes,
)
from kybern.scheduler.metrics import Metrics

Obj = dict[str, Any]
Handler = Callable[[Obj | None, Obj | None], None]
# The labels of the event that a change is.
Naming = Callable[[Obj | None, Obj | None], list[str]]

_ASSIGNED = (
    ASSIGNED_POD_ADD.label,
    ClusterEvent(EventResource.ASSIGNED_POD, Action.UPDATE).label,
    ASSIGNED_POD_DELETE.label,
)
_UNSCHEDULED = (
    UNSCHEDULED_POD_ADD.label,
    ClusterEvent(EventResource.UNSCHEDULED_POD, Action.UPDATE).label,
    ClusterEvent(EventResource.UNSCHEDULED_POD, Action.DELETE).label,
)


class EventTimes:
    """Wraps handlers of informers, which then tell how long they took."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._now, self._metrics = clock.monotonic, metrics

    def pods(self, handler: Handler) -> Handler:
        return self._timed(handler, _pod_labels)

    def nodes(self, handler: Handler) -> Handler:
        return self._timed(handler, _node_labels)

    def objects(self, resource: EventResource, handler: Handler) -> Handler:
        """A handler for objects whose changes are not told apart further."""
        actions = (Action.ADD, Action.UPDATE, Action.DELETE)
        labels = tuple(ClusterEvent(resource, action).label for action in actions)
        return self._timed(handler, lambda old, new: [_label(labels, old, new)])

    def _timed(self, handler: Handler, labels: Naming) -> Handler:
        now, handled = self._now, self._metrics.handled

        def timed(old: Obj | None, new: Obj | None) -> None:
            started = now()
            handler(old, new)
            seconds = now() - started
            for label in labels(old, new):
                handled(label, seconds)

        return timed


def _label(labels: tuple[str, ...], old: Obj | None, new: Obj | None) -> str:
    added, updated, deleted = labels
    if old is None:
        return added
    return deleted if new is None else updated


def _pod_labels(old: Obj | None, new: Obj | None) -> list[str]:
    """A pod that was just bound is an assigned one more."""
    last = new if new is not None else old
    assert last is not None
    if not last["spec"].get("nodeName"):
        return [_label(_UNSCHEDULED, old, new)]
    if old is not None and not old["spec"].get("nodeName"):
        old = None
    return [_label(_ASSIGNED, old, new)]


def _node_labels(old: Obj | None, new: Obj | None) -> list[str]:
    if old is None:
        return [NODE_ADD.label]
    if new is None:
        return [NODE_DELETE.label]
    return [event.label for event in node_changes(old, new)]
