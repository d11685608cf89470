"""A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

Reasons and messages are the interface that ``kubectl rollout status`` and people read.
"""

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.controllers import rollout

NO_DEADLINE = 2**31 - 1
SETTLED_REASONS = ("NewReplicaSetAvailable", "ProgressDeadlineExceeded")


def compute(
    deployment: Obj, sets: list[Obj], new: Obj | None, clock: Clock
) -> tuple[Obj, float | None]:
    """The status now, and after how many seconds the progress deadline must be looked at."""
    before = objects.status(deployment)
    counts = _counts(deployment, sets, new)
    status: Obj = {key: value for key, value in counts.items() if value}
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    conditions = [dict(condition) for condition in before.get("conditions") or ()]
    shell: Obj = {"status": {**status, "conditions": conditions}}
    _set_available(shell, deployment, counts, clock)
    again = _set_progressing(shell, deployment, counts, before, new, clock)
    _set_failure(shell, sets)
    return shell["status"], again


def _counts(deployment: Obj, sets: list[Obj], new: Obj | None) -> dict[str, int]:
    present = rollout.actual(sets)
    available = rollout.actual(sets, "availableReplicas")
    return {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": present,
        "updatedReplicas": rollout.actual([new]) if new is not None else 0,
        "readyReplicas": rollout.actual(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(rollout.total(sets) - available, 0),
        "terminatingReplicas": rollout.actual(sets, "terminatingReplicas"),
    }


def _set(shell: Obj, type_: str, value: str, reason: str, message: str, clock: Clock) -> None:
    now = clock.timestamp()
    objects.set_condition(shell, type_, value, reason, message, now, lastUpdateTime=now)


def _set_available(shell: Obj, deployment: Obj, counts: dict[str, int], clock: Clock) -> None:
    needed = rollout.replicas(deployment) - rollout.max_unavailable(deployment)
    if counts["availableReplicas"] >= needed:
        text = "Deployment has minimum availability."
        _set(shell, "Available", "True", "MinimumReplicasAvailable", text, clock)
    else:
        text = "Deployment does not have minimum availability."
        _set(shell, "Available", "False", "MinimumReplicasUnavailable", text, clock)


def _set_progressing(
    shell: Obj,
    deployment: Obj,
    counts: dict[str, int],
    before: Obj,
    new: Obj | None,
    clock: Clock,
) -> float | None:
    deadline = deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE)
    if deadline >= NO_DEADLINE:
        held = shell["status"]["conditions"]
        shell["status"]["conditions"] = [c for c in held if c["type"] != "Progressing"]
        return None
    current = objects.condition(shell, "Progressing") or {}
    subject = "ReplicaSet" if new is not None else "Deployment"
    name = objects.name(new if new is not None else deployment)
    if rollout.is_complete(deployment, counts):
        done = current.get("reason") == "NewReplicaSetAvailable"
        if not (done and before.get("replicas", 0) == before.get("updatedReplicas", 0)):
            text = f'{subject} "{name}" has successfully progressed.'
            _set(shell, "Progressing", "True", "NewReplicaSetAvailable", text, clock)
        return None
    if rollout.is_progressing(counts, before):
        text = f'{subject} "{name}" is progressing.'
        _set(shell, "Progressing", "True", "ReplicaSetUpdated", text, clock)
        current = objects.condition(shell, "Progressing") or {}
        current["lastUpdateTime"] = clock.timestamp()
    if not current or current.get("reason") in SETTLED_REASONS or deployment["spec"].get("paused"):
        return None
    left = objects.epoch(current["lastUpdateTime"]) + deadline - clock.time()
    if left > 0:
        return left + 1
    text = f'{subject} "{name}" has timed out progressing.'
    _set(shell, "Progressing", "False", "ProgressDeadlineExceeded", text, clock)
    return None


def _set_failure(shell: Obj, sets: list[Obj]) -> None:
    """The first failure of a set is the Deployment's."""
    held = [c for c in shell["status"]["conditions"] if c["type"] != "ReplicaFailure"]
    for one in sets:
        failure = objects.condition(one, "ReplicaFailure")
        if failure is not None:
            held.append({**failure, "lastUpdateTime": failure["lastTransitionTime"]})
            break
    shell["status"]["conditions"] = held


def note_pause(deployment: Obj, clock: Clock) -> None:
    """Pausing stops the progress deadline, resuming starts it anew."""
    if deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE) >= NO_DEADLINE:
        return
    reason = (objects.condition(deployment, "Progressing") or {}).get("reason")
    paused = bool(deployment["spec"].get("paused"))
    if reason == "ProgressDeadlineExceeded" or paused == (reason == "DeploymentPaused"):
        return
    if paused:
        text = "Deployment is paused"
        _set(deployment, "Progressing", "Unknown", "DeploymentPaused", text, clock)
    else:
        text = "Deployment is resumed"
        _set(deployment, "Progressing", "Unknown", "DeploymentResumed", text, clock)


def note_new_set(deployment: Obj, name: str, created: bool, clock: Clock) -> None:
    """A new ReplicaSet counts as progress; a found one only where nothing was said yet."""
    if deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE) >= NO_DEADLINE:
        return
    if created:
        text = f'Created new replica set "{name}"'
        _set(deployment, "Progressing", "True", "NewReplicaSetCreated", text, clock)
    elif objects.condition(deployment, "Progressing") is None:
        text = f'Found new replica set "{name}"'
        _set(deployment, "Progressing", "True", "FoundNewReplicaSet", text, clock)


def note_failure(deployment: Obj, text: str, clock: Clock) -> None:
    """The new ReplicaSet was refused."""
    if deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE) < NO_DEADLINE:
        _set(deployment, "Progressing", "False", "ReplicaSetCreateError", text, clock)
