"""How far each pod's resize is, as its conditions and events tell it.

*Pending* is a resize that the node cannot grant, for now (Deferred) or ever (Infeasible); *in
progress* is one that was granted and that the runtime does not hold yet.
"""

from dataclasses import dataclass

import orjson

from kybern.api.errors import Obj
from kybern.kubelet.admission.predicates import Refusal
from kybern.kubelet.pods import spec

PENDING = "PodResizePending"
IN_PROGRESS = "PodResizeInProgress"
DEFERRED = "Deferred"
INFEASIBLE = "Infeasible"
ERROR = "Error"


@dataclass(slots=True)
class Stage:
    """One of a pod's two conditions: since when, and for which generation of the spec."""

    reason: str
    message: str
    generation: int
    since: float

    def condition(self, kind: str) -> Obj:
        """The condition without its transition time."""
        made: Obj = {"type": kind, "status": "True", "observedGeneration": self.generation}
        if self.reason:
            made.update(reason=self.reason, message=self.message)
        return made


class Resizes:
    """The stages of all pods by UID."""

    def __init__(self) -> None:
        self.pending: dict[str, Stage] = {}
        self.in_progress: dict[str, Stage] = {}

    def conditions(self, uid: str) -> list[Obj]:
        """The pod's resize conditions as they are now."""
        stages = ((PENDING, self.pending.get(uid)), (IN_PROGRESS, self.in_progress.get(uid)))
        return [stage.condition(kind) for kind, stage in stages if stage is not None]

    def postpone(self, pod: Obj, reason: str, message: str, now: float) -> bool:
        """The resize is not granted; True if that is news."""
        uid, generation = spec.uid(pod), pod["metadata"].get("generation", 0)
        old = self.pending.get(uid)
        since = old.since if old is not None and old.reason == reason else now
        self.pending[uid] = Stage(reason, message, generation, since)
        return old is None or (old.reason, old.generation) != (reason, generation)

    def begin(self, pod: Obj, now: float) -> None:
        """The resize is granted, and what an earlier one failed on no longer counts."""
        uid = spec.uid(pod)
        self.pending.pop(uid, None)
        self.in_progress[uid] = Stage("", "", pod["metadata"].get("generation", 0), now)

    def fail(self, pod: Obj, message: str, now: float) -> bool:
        """The runtime or the kernel did not take it; True if that is news."""
        uid = spec.uid(pod)
        old = self.in_progress.get(uid)
        generation = pod["metadata"].get("generation", 0) if old is None else old.generation
        self.in_progress[uid] = Stage(ERROR, message, generation, now)
        return old is None or (old.reason, old.message) != (ERROR, message)

    def forget(self, uid: str) -> None:
        self.pending.pop(uid, None)
        self.in_progress.pop(uid, None)


def summary(pod: Obj, prefix: str, generation: int, error: str = "") -> str:
    """An event's text: what happened, and the resources that the pod asks for."""
    told: Obj = {}
    for group in ("initContainers", "containers"):
        containers = pod["spec"].get(group) or ()
        if containers:
            told[group] = [
                {"name": c["name"], "resources": c.get("resources") or {}} for c in containers
            ]
    told["generation"] = generation
    if error:
        told["error"] = error
    return f"{prefix}: {orjson.dumps(told).decode()}"


def keeps_its_size(granted: Obj, wanted: Obj, resource: str, because: str) -> Refusal | None:
    """A refusal if a container of a Guaranteed pod asks for another amount of what is pinned."""
    if spec.qos_class(wanted) != "Guaranteed":
        return None
    before = {container["name"]: container for container in spec.all_containers(granted)}
    for container in (*spec.init_containers(wanted), *spec.containers(wanted)):
        old = before.get(container["name"], container)
        was, becomes = (spec.resource_milli(c, "requests", resource) for c in (old, container))
        if was != becomes:
            text = f"Resize is infeasible for Guaranteed Pods alongside {because}"
            return Refusal(INFEASIBLE, text)
    return None
