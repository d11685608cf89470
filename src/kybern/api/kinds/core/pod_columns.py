"""The columns of ``kubectl get pods``, with the computation of STATUS.

The phase alone says little, so the status shown is the reason of the container that best explains
the pod: an init container's while it initialises, else the first container's that waits or ended.
"""

from dataclasses import dataclass
from typing import Any

from kybern.api.ages import since
from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, NONE, at
from kybern.api.kinds.kind import Column
from kybern.api.objects import condition, condition_is, epoch


@dataclass(slots=True)
class Summary:
    """What the columns show of a pod's containers; ``last_restart`` is a timestamp or empty."""

    status: str
    ready: int = 0
    total: int = 0
    restarts: int = 0
    last_restart: str = ""

    def count_restarts(self, status: Obj) -> None:
        self.restarts += status.get("restartCount", 0)
        finished = (status.get("lastState") or {}).get("terminated") or {}
        at_time = finished.get("finishedAt") or ""
        if at_time and (not self.last_restart or epoch(self.last_restart) < epoch(at_time)):
            self.last_restart = at_time


def summary(pod: Obj) -> Summary:
    """How the pod is doing, in the words of ``kubectl get pods``."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    found = Summary(status.get("reason") or status.get("phase") or "")
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        found.status = "SchedulingGated"
    init_containers = spec.get("initContainers") or []
    sidecars = {c["name"] for c in init_containers if c.get("restartPolicy") == "Always"}
    found.total = len(spec.get("containers") or ()) + len(sidecars)

    later = Summary("")
    initializing = _initializing(found, later, status, len(init_containers), sidecars)
    if not initializing or condition_is(pod, "Initialized"):
        found.restarts, found.last_restart = later.restarts, later.last_restart
        _running(found, pod, status)

    deleting = pod["metadata"].get("deletionTimestamp")
    if deleting and status.get("reason") == "NodeLost":
        found.status = "Unknown"
    elif deleting and status.get("phase") not in ("Succeeded", "Failed"):
        found.status = "Terminating"
    return found


def _initializing(
    found: Summary, later: Summary, status: Obj, total: int, sidecars: set[str]
) -> bool:
    """Go through the init containers up to the first that is not done; True if there is one.

    ``later`` counts the restarts of sidecars alone, which are what counts once the pod runs.
    """
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        found.count_restarts(container)
        is_sidecar = container.get("name") in sidecars
        if is_sidecar:
            later.count_restarts(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if is_sidecar and container.get("started"):
            found.ready += bool(container.get("ready"))
            continue
        if ended is not None:
            found.status = "Init:" + _end_reason(ended)
        elif waiting and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            found.status = "Init:" + waiting["reason"]
        else:
            found.status = f"Init:{i}/{total}"
        return True
    return False


def _running(found: Summary, pod: Obj, status: Obj) -> None:
    has_running = False
    error_reason = ""
    for container in reversed(status.get("containerStatuses") or ()):
        found.count_restarts(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if waiting and waiting.get("reason"):
            found.status = waiting["reason"]
        elif ended is not None:
            found.status = _end_reason(ended)
            if ended.get("exitCode", 0) != 0:
                error_reason = found.status
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            found.ready += 1
    if found.status == "Completed":
        if has_running and condition_is(pod, "Ready"):
            found.status = "Running"
        elif error_reason:
            found.status = error_reason
        elif has_running:
            found.status = "NotReady"


def _end_reason(ended: Obj) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _ready(pod: Obj, now: float) -> str:
    found = summary(pod)
    return f"{found.ready}/{found.total}"


def _status(pod: Obj, now: float) -> str:
    return summary(pod).status


def _restarts(pod: Obj, now: float) -> str:
    found = summary(pod)
    if found.restarts and found.last_restart:
        return f"{found.restarts} ({since(found.last_restart, now)} ago)"
    return str(found.restarts)


def _ip(pod: Obj, now: float) -> str:
    addresses = (pod.get("status") or {}).get("podIPs") or ()
    return (addresses[0].get("ip") if addresses else "") or NONE


def _or_none(*path: str) -> Any:
    read = at(*path)
    return lambda pod, now: read(pod, now) or NONE


def _readiness_gates(pod: Obj, now: float) -> str:
    gates = (pod.get("spec") or {}).get("readinessGates") or ()
    if not gates:
        return NONE
    met = sum(condition_is(pod, gate.get("conditionType", "")) for gate in gates)
    return f"{met}/{len(gates)}"


POD_COLUMNS = (
    NAME,
    Column("Ready", _ready),
    Column("Status", _status),
    Column("Restarts", _restarts),
    AGE,
    Column("IP", _ip, priority=1),
    Column("Node", _or_none("spec", "nodeName"), priority=1),
    Column("Nominated Node", _or_none("status", "nominatedNodeName"), priority=1),
    Column("Readiness Gates", _readiness_gates, priority=1),
)
