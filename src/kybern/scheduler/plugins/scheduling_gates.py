"""SchedulingGates: a pod with gates waits outside the queue until the last one is removed."""

from collections.abc import Sequence
from typing import Any

from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Plugin

Obj = dict[str, Any]


class SchedulingGates(Plugin):
    name = "SchedulingGates"

    def gate(self, pod: Obj) -> str | None:
        gates = pod["spec"].get("schedulingGates")
        if not gates:
            return None
        names = " ".join(gate["name"] for gate in gates)
        return f"waiting for scheduling gates: [{names}]"

    def registrations(self) -> Sequence[Registration]:
        event = ClusterEvent(EventResource.POD, Action.UPDATE_POD_GATES_ELIMINATED)
        return (Registration(event, _gates_removed),)


def _gates_removed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    return queue_if(new is not None and new["metadata"]["uid"] == pod["metadata"]["uid"])
