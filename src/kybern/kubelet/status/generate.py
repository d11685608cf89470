"""A pod's whole status, from everything that is known about it. Pure.

The rules are upstream's: the phase follows the containers and restart policies, never leaves
Succeeded or Failed, and only a pod whose containers are all gone becomes terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.pod_resources import pod_requests
from kybern.kubelet.cri.state import CREATED, RUNNING, RuntimePod
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.actions import restarts_all, sandbox_changed
from kybern.kubelet.status import containers
from kybern.kubelet.status.conditions import RESTARTING, conditions
from kybern.kubelet.status.containers import Observations, container_statuses
from kybern.kubelet.status.resources import held_by_pod

TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the node fails a pod.

    ``disruption`` is the reason of its condition DisruptionTarget, whose message is the pod's where
    it has none of its own.
    """

    reason: str
    message: str
    disruption: str = ""
    disruption_message: str = ""


def _disruption(pod: Obj, failure: Failure | None) -> list[Obj]:
    if failure is None or not failure.disruption:
        return []
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": failure.disruption,
        "message": failure.disruption_message or failure.message,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    return [condition]


def generate(
    pod: Obj,
    state: RuntimePod,
    previous: Obj,
    seen: Observations,
    *,
    host_ips: Sequence[str],
    now: str,
    ended: bool = False,
    failure: Failure | None = None,
    resizes: Sequence[Obj] = (),
) -> Obj:
    """The status to report.

    ``previous`` is the last status this kubelet made, or the API's. ``ended`` says that no
    container runs or will run; ``failure`` is why the node itself fails the pod (eviction, a
    deadline); ``resizes`` are the conditions of a resize that is not through.
    """
    restarting = _is_restarting(pod, state, previous)
    inits = container_statuses(
        pod,
        spec.init_containers(pod),
        state,
        previous.get("initContainerStatuses") or (),
        seen,
        init=True,
        restarting=restarting,
    )
    regular = container_statuses(
        pod,
        spec.containers(pod),
        state,
        previous.get("containerStatuses") or (),
        seen,
        restarting=restarting,
    )
    ephemeral = container_statuses(
        pod,
        spec.ephemeral_containers(pod),
        state,
        previous.get("ephemeralContainerStatuses") or (),
        seen,
    )
    if ended:
        _end_what_is_left(regular, everything=_was_initialized(pod, inits, regular))
        _end_what_is_left([*inits, *ephemeral], everything=False)
    computed = phase(pod, inits, regular, state, ended)
    status: Obj = {"phase": _kept_terminal(pod, previous, computed)}
    for key in ("reason", "message"):
        said = previous.get(key) or (pod.get("status") or {}).get(key)
        if said and status["phase"] == previous.get("phase"):
            status[key] = said
    if failure is not None:
        status.update(phase="Failed", reason=failure.reason, message=failure.message)
    status["qosClass"] = spec.qos_class(pod)
    status["startTime"] = previous.get("startTime") or now
    if generation := pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    _add_addresses(pod, state, previous, host_ips, status)
    status["conditions"] = conditions(
        pod,
        [*inits, *regular],
        status["phase"],
        not sandbox_changed(pod, state)[0],
        previous.get("conditions") or (),
        now,
        (*resizes, *_disruption(pod, failure)),
        restarting and _has_containers(pod, state),
    )
    status["resources"] = held_by_pod(pod, seen.pod_bounds)
    if requests := pod_requests(pod):
        status["allocatedResources"] = {name: str(amount) for name, amount in requests.items()}
    status["containerStatuses"] = regular
    if inits:
        status["initContainerStatuses"] = inits
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    return status


def _is_restarting(pod: Obj, state: RuntimePod, previous: Obj) -> bool:
    """Whether a container's end restarts the whole pod, by what is there or was told before."""
    if not spec.could_restart_all(pod):
        return False
    told = objects.condition({"status": previous}, RESTARTING)
    if (told is not None and told["status"] == "True") or restarts_all(pod, state):
        return True
    statuses = [
        *(previous.get("initContainerStatuses") or ()),
        *(previous.get("containerStatuses") or ()),
    ]
    ends = {status["name"]: status["state"].get("terminated") for status in statuses}
    return any(
        (end := ends.get(container["name"])) is not None
        and spec.restart_action(container, end["exitCode"]) == spec.RESTART_ALL
        for container in (*spec.init_containers(pod), *spec.containers(pod))
    )


def _has_containers(pod: Obj, state: RuntimePod) -> bool:
    wanted = (*spec.init_containers(pod), *spec.containers(pod))
    return any(state.latest(container["name"]) is not None for container in wanted)


def _is_final(pod: Obj, container: Obj, end: Obj) -> bool:
    """Whether a container stays ended; one that went with all others of its pod does not."""
    restarting = end.get("reason") == containers.RESTARTING
    return not restarting and not spec.restarts_after(pod, container, end["exitCode"])


def _kept_terminal(pod: Obj, previous: Obj, computed: str) -> str:
    for earlier in (previous.get("phase"), (pod.get("status") or {}).get("phase")):
        if earlier in TERMINAL:
            return earlier
    return computed


def _add_addresses(
    pod: Obj, state: RuntimePod, previous: Obj, host_ips: Sequence[str], status: Obj
) -> None:
    if host_ips:
        status["hostIP"] = host_ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in host_ips]
    ips = list(state.ips)
    if spec.host_network(pod) and state.sandboxes:
        ips = list(host_ips)
    if not ips:
        # A stopped sandbox has given its address back, but people still ask what it was.
        ips = [entry["ip"] for entry in previous.get("podIPs") or ()]
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]


def _end_what_is_left(statuses: Sequence[Obj], *, everything: bool) -> None:
    """Containers of an ended pod cannot be running or waiting; say how far they came.

    Containers that were never reached stay waiting, unless ``everything`` is to end.
    """
    for status in statuses:
        if "terminated" in status["state"]:
            continue
        last = (status.get("lastState") or {}).get("terminated")
        if last is not None and "waiting" in status["state"]:
            status["state"], status["lastState"] = {"terminated": last}, {}
        elif everything or "running" in status["state"]:
            status["state"] = {
                "terminated": {
                    "exitCode": 137,
                    "reason": "ContainerStatusUnknown",
                    "message": "The container could not be located when the pod was terminated",
                    "startedAt": None,
                    "finishedAt": None,
                }
            }
        status["ready"] = status["started"] = False


def _was_initialized(pod: Obj, inits: Sequence[Obj], regular: Sequence[Obj]) -> bool:
    """Whether there is evidence that the init containers had done their work."""
    if not inits or any("waiting" not in s["state"] or _last_end(s) for s in regular):
        return True
    last = inits[-1]
    if spec.is_sidecar(spec.init_containers(pod)[-1]):
        return "running" in last["state"] and bool(last.get("started"))
    ends = (last["state"].get("terminated"), _last_end(last))
    return any(end is not None and end["exitCode"] == 0 for end in ends)


def phase(
    pod: Obj, inits: Sequence[Obj], regular: Sequence[Obj], state: RuntimePod, ended: bool
) -> str:
    """Pending, Running, Succeeded or Failed."""
    verdict = _initialization(pod, inits, state)
    if verdict == "Failed":
        return verdict
    running = sum("running" in status["state"] for status in regular)
    waiting = stopped = succeeded = final = 0
    for container in spec.init_containers(pod):
        status = next(s for s in inits if s["name"] == container["name"])
        if spec.is_sidecar(container):
            running += "running" in status["state"]
            waiting += "waiting" in status["state"] and not _last_end(status)
    for container in spec.containers(pod):
        status = next(s for s in regular if s["name"] == container["name"])
        end = status["state"].get("terminated")
        last = _last_end(status)
        if end is not None:
            stopped += 1
            succeeded += end["exitCode"] == 0
            final += _is_final(pod, container, end)
        elif "waiting" in status["state"] and last is not None:
            stopped += 1
            final += _is_final(pod, container, last)
        elif "waiting" in status["state"]:
            waiting += 1
    if ended and not running:
        if stopped + waiting == 0 or stopped != succeeded or waiting:
            return "Failed"
        return "Succeeded"
    if verdict == "Pending" or waiting:
        return "Pending"
    if running:
        return "Running"
    if not stopped:
        return "Pending"
    if stopped != final:
        return "Running"
    return "Succeeded" if stopped == succeeded else "Failed"


def _last_end(status: Obj) -> Obj | None:
    return (status.get("lastState") or {}).get("terminated")


def _initialization(pod: Obj, inits: Sequence[Obj], state: RuntimePod) -> str:
    """``Failed``, ``Pending`` or empty when init containers no longer hold the pod back."""
    started = any(
        c is not None and c.state in (CREATED, RUNNING)
        for c in (state.latest(container["name"]) for container in spec.containers(pod))
    )
    pending = False
    for container, status in zip(spec.init_containers(pod), inits, strict=True):
        end = status["state"].get("terminated") or _last_end(status)
        if spec.is_sidecar(container):
            begun = status.get("started") or end is not None
            pending = pending or (not begun and not started)
        elif end is not None and "running" not in status["state"]:
            failed = end["exitCode"] != 0
            if failed and _is_final(pod, container, end):
                return "Failed"
            pending = pending or failed
        else:
            pending = True
    return "Pending" if pending else ""
