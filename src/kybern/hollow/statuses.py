"""The statuses that a simulated kubelet reports for a pod at each stage."""

from typing import Any

Obj = dict[str, Any]

UNREADY = "ContainersNotReady"


def creating(pod: Obj, host_ip: str, now: str, reason: str = "ContainerCreating") -> Obj:
    """Pending: the node has accepted the pod, no container runs."""
    waiting = {"waiting": {"reason": reason}}
    return {
        "phase": "Pending",
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "conditions": _conditions(pod, now, started=False, ready=False),
        "containerStatuses": [_container(c, waiting) for c in pod["spec"]["containers"]],
    }


def running(
    pod: Obj, host_ip: str, pod_ip: str, now: str, *, ready: bool, restarts: int = 0
) -> Obj:
    """Running: all init containers are done, all containers run."""
    state = {"running": {"startedAt": now}}
    status = creating(pod, host_ip, now)
    status |= {
        "phase": "Running",
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "conditions": _conditions(pod, now, started=True, ready=ready),
        "containerStatuses": [
            _container(c, state, ready=ready, restarts=restarts) for c in pod["spec"]["containers"]
        ],
    }
    if inits := pod["spec"].get("initContainers"):
        status["initContainerStatuses"] = [_init_container(c, now) for c in inits]
    return status


def became_ready(pod: Obj, now: str) -> Obj:
    """The running containers pass their readiness probes."""
    current = (pod.get("status") or {}).get("containerStatuses") or []
    return {
        "conditions": _conditions(pod, now, started=True, ready=True),
        "containerStatuses": [{**status, "ready": True} for status in current],
    }


def restarting(pod: Obj, exit_code: int, restarts: int, now: str) -> Obj:
    """Exited containers wait for the next start."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    containers = []
    for container in pod["spec"]["containers"]:
        status = _container(container, waiting, restarts=restarts)
        status["lastState"] = _terminated(exit_code, now)
        containers.append(status)
    return {
        "phase": "Running",
        "conditions": _conditions(pod, now, started=True, ready=False),
        "containerStatuses": containers,
    }


def finished(pod: Obj, exit_code: int, restarts: int, now: str) -> Obj:
    """Succeeded or Failed: every container has exited for good."""
    state = _terminated(exit_code, now)
    reason = "PodFailed" if exit_code else "PodCompleted"
    return {
        "phase": "Failed" if exit_code else "Succeeded",
        "conditions": _conditions(pod, now, started=False, ready=False, reason=reason),
        "containerStatuses": [
            _container(c, state, restarts=restarts) for c in pod["spec"]["containers"]
        ],
    }


def _conditions(
    pod: Obj, now: str, *, started: bool, ready: bool, reason: str = UNREADY
) -> list[Obj]:
    """The kubelet's conditions; times of unchanged ones stay."""
    old = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    initialized = started or reason != UNREADY or not pod["spec"].get("initContainers")
    facts = {
        "PodReadyToStartContainers": (started, ""),
        "Initialized": (initialized, reason if reason == "PodCompleted" else ""),
        "Ready": (ready, reason),
        "ContainersReady": (ready, reason),
        "PodScheduled": (True, ""),
    }
    result: list[Obj] = []
    for kind, (holds, why) in facts.items():
        status = "True" if holds else "False"
        before = old.get(kind)
        since = before["lastTransitionTime"] if before and before["status"] == status else now
        condition: Obj = {"type": kind, "status": status, "lastTransitionTime": since}
        if why and (not holds or why == "PodCompleted"):
            condition["reason"] = why
            if why == UNREADY:
                names = " ".join(c["name"] for c in pod["spec"]["containers"])
                condition["message"] = f"containers with unready status: [{names}]"
        result.append(condition)
    return result


def _container(container: Obj, state: Obj, *, ready: bool = False, restarts: int = 0) -> Obj:
    image = container.get("image", "")
    return {
        "name": container["name"],
        "image": image,
        "imageID": "" if "waiting" in state else f"simulated://{image}",
        "containerID": "" if "waiting" in state else f"simulated://{container['name']}",
        "ready": ready,
        "started": "running" in state,
        "restartCount": restarts,
        "state": state,
        "lastState": {},
    }


def _init_container(container: Obj, now: str) -> Obj:
    """A plain init container has completed, a sidecar runs."""
    if container.get("restartPolicy") == "Always":
        return _container(container, {"running": {"startedAt": now}}, ready=True)
    status = _container(container, _terminated(0, now), ready=True)
    status["started"] = False
    return status


def _terminated(exit_code: int, now: str) -> Obj:
    reason = "Error" if exit_code else "Completed"
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": reason,
            "startedAt": now,
            "finishedAt": now,
        }
    }
