"""A pod's conditions, from its container statuses and its phase. Pure."""

from collections.abc import Mapping, Sequence

from kybern.api.errors import Obj
from kybern.kubelet.admission.resizes import IN_PROGRESS, PENDING
from kybern.kubelet.pods import spec

# The conditions that the kubelet owns; all others belong to somebody else and are kept.
OWNED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)
# Owned too, and there for pods whose containers may restart all of it.
RESTARTING = "AllContainersRestarting"
# Owned too, but only there while a resize is under way.
PASSING = (PENDING, IN_PROGRESS)
ALL_OWNED = (*OWNED, RESTARTING, *PASSING)


def conditions(
    pod: Obj,
    statuses: Sequence[Obj],
    phase: str,
    sandbox_ready: bool,
    previous: Sequence[Obj],
    now: str,
    passing: Sequence[Obj] = (),
    restarting: bool = False,
) -> list[Obj]:
    """All conditions; a transition time changes only together with its status.

    ``passing`` are those that come and go; their transition time goes with their reason.
    ``restarting`` says that all containers are being restarted and not all have gone yet.
    """
    kept = [
        condition
        for condition in (pod.get("status") or {}).get("conditions") or ()
        if condition["type"] not in ALL_OWNED
    ]
    told = {condition["type"] for condition in passing}
    kept = [condition for condition in kept if condition["type"] not in told]
    known = {condition["type"] for condition in kept} | told
    kept += [c for c in previous if c["type"] == "DisruptionTarget" and c["type"] not in known]
    by_name = {status["name"]: status for status in statuses}
    containers_ready = _containers_ready(pod, by_name, phase)
    made = {
        "PodReadyToStartContainers": _condition(sandbox_ready),
        "Initialized": _initialized(pod, by_name, phase),
        "Ready": _ready(pod, containers_ready, kept),
        "ContainersReady": containers_ready,
        "PodScheduled": _condition(True),
    }
    old = {condition["type"]: condition for condition in previous}
    owned = [
        _dated(kind, made[kind], old.get(kind), pod["metadata"].get("generation"), now)
        for kind in OWNED
    ]
    if spec.could_restart_all(pod):
        shown = _restarting(phase, restarting)
        owned.append(_dated(RESTARTING, shown, old.get(RESTARTING), None, now))
    return kept + owned + [_passing(made, old.get(made["type"]), now) for made in passing]


def _condition(holds: bool, reason: str = "", message: str = "") -> Obj:
    made = {"status": "True" if holds else "False"}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def _dated(kind: str, made: Obj, old: Obj | None, generation: int | None, now: str) -> Obj:
    same = old is not None and old["status"] == made["status"] and old.get("lastTransitionTime")
    dated = {
        "type": kind,
        "lastProbeTime": None,
        "lastTransitionTime": old["lastTransitionTime"] if same and old else now,
        **made,
    }
    if generation:
        dated["observedGeneration"] = generation
    return dated


def _passing(made: Obj, old: Obj | None, now: str) -> Obj:
    same = old is not None and old.get("reason") == made.get("reason")
    since = old.get("lastTransitionTime") if same and old else None
    return {**made, "lastProbeTime": None, "lastTransitionTime": since or now}


def _listed(names: Sequence[str]) -> str:
    return "[" + " ".join(names) + "]"


def _containers_ready(pod: Obj, statuses: Mapping[str, Obj], phase: str) -> Obj:
    wanted = [c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)]
    wanted += [c["name"] for c in spec.containers(pod)]
    unknown = [name for name in wanted if name not in statuses]
    unready = [name for name in wanted if name in statuses and not statuses[name]["ready"]]
    if phase == "Succeeded" and not unknown:
        return _condition(False, "PodCompleted")
    if phase == "Failed":
        return _condition(False, "PodFailed")
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_listed(unknown)}")
    if unready:
        messages.append(f"containers with unready status: {_listed(unready)}")
    if messages:
        return _condition(False, "ContainersNotReady", ", ".join(messages))
    return _condition(True)


def _ready(pod: Obj, containers_ready: Obj, others: Sequence[Obj]) -> Obj:
    """Ready: the containers are, and so is every readiness gate."""
    if containers_ready["status"] != "True":
        return containers_ready
    found = {condition["type"]: condition["status"] for condition in others}
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in found:
            messages.append(
                f'corresponding condition of pod readiness gate "{kind}" does not exist.'
            )
        elif found[kind] != "True":
            messages.append(
                f'the status of pod readiness gate "{kind}" is not "True", but {found[kind]}'
            )
    if messages:
        return _condition(False, "ReadinessGatesNotReady", ", ".join(messages))
    return _condition(True)


def _restarting(phase: str, restarting: bool) -> Obj:
    if phase in ("Succeeded", "Failed"):
        return _condition(False, "PodCompleted" if phase == "Succeeded" else "PodFailed")
    if restarting:
        message = "container exited with restart policy rule"
        return _condition(True, "RestartAllContainersStarted", message)
    return _condition(False)


def _initialized(pod: Obj, statuses: Mapping[str, Obj], phase: str) -> Obj:
    inits = spec.init_containers(pod)
    unknown = [c["name"] for c in inits if c["name"] not in statuses]
    if phase == "Succeeded" and not unknown:
        return _condition(True, "PodCompleted")
    if any(_ever_started(statuses.get(c["name"])) for c in spec.containers(pod)):
        return _condition(True)
    incomplete = [
        c["name"]
        for c in inits
        if c["name"] in statuses
        and not statuses[c["name"]]["started" if spec.is_sidecar(c) else "ready"]
    ]
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_listed(unknown)}")
    if incomplete:
        messages.append(f"containers with incomplete status: {_listed(incomplete)}")
    if messages:
        return _condition(False, "ContainersNotInitialized", ", ".join(messages))
    return _condition(True)


def _ever_started(status: Obj | None) -> bool:
    if status is None:
        return False
    return bool(
        status.get("started")
        or "terminated" in status["state"]
        or "running" in status["state"]
        or "terminated" in (status.get("lastState") or {})
    )
