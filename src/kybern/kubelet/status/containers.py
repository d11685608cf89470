"""Container statuses from the runtime's view, the previous status and pending failures. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kybern.api.errors import Obj
from kybern.component.clock import rfc3339
from kybern.kubelet.bounds import Bounds
from kybern.kubelet.cri.state import CREATED, EXITED, RUNNING, ContainerState, RuntimePod
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.actions import should_restart
from kybern.kubelet.status.resources import held_by_container

KILLED_EXIT_CODE = 137
# Why containers are gone of a pod that one of them has restarted.
RESTARTING = "RestartingAllContainers"
_RESTARTING_MESSAGE = "The container is removed because RestartAllContainers in place"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container is not started: the waiting state's reason and message."""

    reason: str
    message: str


@dataclass(slots=True)
class Observations:
    """What the worker knows beside the runtime's view.

    ``ready`` and ``started`` answer by container id; ``hooking`` are containers whose postStart
    hook still runs and which count as not started; ``pod_bounds`` is what the pod's cgroup holds.
    """

    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    ready: Mapping[str, bool] = field(default_factory=dict)
    started: Mapping[str, bool] = field(default_factory=dict)
    hooking: frozenset[str] = frozenset()
    pod_bounds: Bounds | None = None
    # How the devices of regular containers are, by the containers' names.
    devices: Mapping[str, list[Obj]] = field(default_factory=dict)
    runtime_name: str = "containerd"


def time_of(nanoseconds: int) -> str | None:
    """Nanoseconds since the epoch as ``metav1.Time``; None for the zero time."""
    return rfc3339(nanoseconds / 1e9) if nanoseconds > 0 else None


def container_status(status: Obj, name: str) -> Obj:
    """One container's status out of a pod's."""
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for found in status.get(group) or ():
            if found["name"] == name:
                return found
    return {}


def container_statuses(
    pod: Obj,
    containers: Sequence[Obj],
    state: RuntimePod,
    previous: Sequence[Obj],
    seen: Observations,
    *,
    init: bool = False,
    restarting: bool = False,
) -> list[Obj]:
    """One status per container; regular ones sorted by name, init ones in the spec's order.

    ``restarting`` says that all containers of the pod are being restarted.
    """
    old = {status["name"]: status for status in previous}
    default = "PodInitializing" if spec.init_containers(pod) else "ContainerCreating"
    result = []
    for container in containers:
        known = old.get(container["name"])
        status = _one(pod, container, state, known, default, seen, restarting)
        if init:
            _fix_init(pod, container, state, status)
        _overlay_waiting(pod, container, state, status, seen)
        _set_probed(container, status, seen, init=init)
        status.pop("allocatedResourcesStatus", None)
        if not init and (devices := seen.devices.get(container["name"])):
            status["allocatedResourcesStatus"] = devices
        result.append(status)
    return result if init else sorted(result, key=lambda status: status["name"])


def _one(
    pod: Obj,
    container: Obj,
    state: RuntimePod,
    old: Obj | None,
    default: str,
    seen: Observations,
    restarting: bool,
) -> Obj:
    own = [c for c in state.containers if c.name == container["name"]]
    if not own:
        return _unseen(pod, container, old, default, restarting)
    newest = own[0]
    status = _described(pod, container, newest, seen)
    if old is not None:
        # The runtime has forgotten the attempts of a pod that was restarted as a whole.
        status["restartCount"] = max(status["restartCount"], old["restartCount"])
    if newest.id in seen.hooking or newest.state == CREATED:
        status["state"] = {"waiting": {"reason": default}}
    elif newest.state == RUNNING:
        status["state"] = {"running": {"startedAt": time_of(newest.started_at)}}
    elif newest.state == EXITED:
        status["state"] = {"terminated": _terminated(newest, seen)}
    elif old is not None and "running" in (old.get("state") or {}):
        status["state"] = {"terminated": _lost("terminated")}
        status["restartCount"] = old["restartCount"] + 1
    else:
        status["state"] = {"waiting": {}}
    status["lastState"] = {}
    if len(own) > 1 and own[1].state == EXITED:
        status["lastState"] = {"terminated": _terminated(own[1], seen)}
    elif old is not None:
        status["lastState"] = _previous_end(old, status["containerID"])
    return status


def _previous_end(old: Obj, container_id: str) -> Obj:
    """The last termination where the runtime has already removed that container."""
    ended = (old.get("state") or {}).get("terminated")
    if ended and old.get("containerID") != container_id:
        return {"terminated": ended}
    return old.get("lastState") or {}


def _described(pod: Obj, container: Obj, found: ContainerState, seen: Observations) -> Obj:
    status: Obj = {
        "name": container["name"],
        "image": found.image or container.get("image", ""),
        "imageID": found.image_ref,
        "containerID": f"{seen.runtime_name}://{found.id}",
        "restartCount": found.attempt,
        "ready": False,
    }
    return _with_spec(pod, container, found, status)


def _with_spec(pod: Obj, container: Obj, found: ContainerState, status: Obj) -> Obj:
    """Volume mounts, and the resources that were granted and that the container holds."""
    if mounts := container.get("volumeMounts"):
        status["volumeMounts"] = [_mount_status(mount) for mount in mounts]
    if held := held_by_container(pod, container, found.bounds):
        status["resources"] = held
    if requests := (container.get("resources") or {}).get("requests"):
        status["allocatedResources"] = requests
    return status


def _mount_status(mount: Obj) -> Obj:
    shown: Obj = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        shown.update(readOnly=True, recursiveReadOnly="Disabled")
    return shown


def _terminated(found: ContainerState, seen: Observations) -> Obj:
    ended: Obj = {
        "exitCode": found.exit_code,
        "reason": found.reason or ("Completed" if found.exit_code == 0 else "Error"),
        "startedAt": time_of(found.started_at),
        "finishedAt": time_of(found.finished_at),
        "containerID": f"{seen.runtime_name}://{found.id}",
    }
    if found.message:
        ended["message"] = found.message
    return ended


def _lost(when: str) -> Obj:
    """The end of a container that the runtime no longer knows."""
    message = f"The container could not be located when the pod was {when}"
    if when == "deleted":
        message += ".  The container used to be Running"
    return {
        "exitCode": KILLED_EXIT_CODE,
        "reason": "ContainerStatusUnknown",
        "message": message,
        "startedAt": None,
        "finishedAt": None,
    }


def _unseen(pod: Obj, container: Obj, old: Obj | None, default: str, restarting: bool) -> Obj:
    """The status of a container that the runtime does not know (yet, or any more)."""
    removed = restarting and old is not None and "waiting" not in (old.get("state") or {})
    if not removed and old is not None and "terminated" in (old.get("state") or {}):
        return dict(old)
    status: Obj = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "restartCount": old["restartCount"] if old else 0,
        "ready": False,
        "state": {"waiting": {"reason": default}},
        "lastState": (old.get("lastState") or {}) if old else {},
    }
    if mounts := container.get("volumeMounts"):
        status["volumeMounts"] = [_mount_status(mount) for mount in mounts]
    if removed:
        why = {"reason": RESTARTING, "message": _RESTARTING_MESSAGE}
        ended = {"exitCode": KILLED_EXIT_CODE, **why, "startedAt": None, "finishedAt": None}
        status["state"], status["lastState"] = {"waiting": why}, {"terminated": ended}
        status["restartCount"] += 1
        return status
    was_running = old is not None and "running" in (old.get("state") or {})
    if was_running and "terminated" not in status["lastState"]:
        status["lastState"] = {"terminated": _lost("deleted")}
        if not spec.is_deleted(pod):
            status["restartCount"] += 1
    return status


def _fix_init(pod: Obj, container: Obj, state: RuntimePod, status: Obj) -> None:
    """An ordinary init container that is gone although later ones ran has done its work."""
    if state.latest(container["name"]) is not None or spec.is_sidecar(container):
        return
    created = any(state.latest(c["name"]) for c in spec.containers(pod))
    if created and "waiting" in status["state"]:
        status["state"] = {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "message": "Unable to get init container status from container runtime and pod "
                "has been initialized, treat it as exited normally",
                "startedAt": None,
                "finishedAt": None,
            }
        }


def _overlay_waiting(
    pod: Obj, container: Obj, state: RuntimePod, status: Obj, seen: Observations
) -> None:
    """A container that is to be started again shows why it was not, and how it ended before."""
    waiting = seen.waiting.get(container["name"])
    if waiting is None or not should_restart(pod, container, state):
        return
    if "terminated" in status["state"]:
        status["lastState"] = status["state"]
    status["state"] = {"waiting": {"reason": waiting.reason, "message": waiting.message}}
    if not waiting.message:
        del status["state"]["waiting"]["message"]


def _set_probed(container: Obj, status: Obj, seen: Observations, *, init: bool) -> None:
    """``started`` and ``ready``, from the probes or from the mere fact that it runs."""
    if init and not spec.is_sidecar(container):
        ended = status["state"].get("terminated")
        status["ready"] = ended is not None and ended["exitCode"] == 0
        status["started"] = False
        return
    running = "running" in status["state"]
    identity = status.get("containerID", "").partition("://")[2]
    status["started"] = running and seen.started.get(identity, True)
    status["ready"] = status["started"] and seen.ready.get(identity, True)
