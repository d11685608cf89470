"""The counting side of Jobs: which pods are finished, which counted, conditions. Pure functions.

Finished pods are counted exactly once, although pods vanish: each carries the finalizer
``batch.kubernetes.io/job-tracking`` until its uid has been noted in
``status.uncountedTerminatedPods`` and then in the counters (KEP-2307).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.controllers import job_indexes, job_policies

FINALIZER = "batch.kubernetes.io/job-tracking"
END_CONDITIONS = ("Complete", "Failed")
TARGET_OF = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


@dataclass(slots=True)
class Finished:
    """Pods that one round found finished: to release, and of these the failed ones."""

    release: list[Obj] = field(default_factory=list)
    succeeded: list[Obj] = field(default_factory=list)
    failed: list[Obj] = field(default_factory=list)
    # Failed pods that stay until their index has a successor.
    held_back: dict[int, Obj] = field(default_factory=dict)


def is_finished(job: Obj) -> bool:
    return any(objects.condition_is(job, type_) for type_ in END_CONDITIONS)


def is_suspended(job: Obj) -> bool:
    return bool(job["spec"].get("suspend"))


def replaces_failed_only(job: Obj) -> bool:
    """A terminating pod is replaced when it has ended, not before."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or bool(spec.get("podFailurePolicy"))


def has_failed(job: Obj, pod: Obj) -> bool:
    """Failed, or on its way out where the Job replaces terminating pods."""
    phase = objects.pod_phase(pod)
    if phase == "Failed":
        return True
    return objects.is_deleting(pod) and phase != "Succeeded" and not replaces_failed_only(job)


def is_tracked(pod: Obj) -> bool:
    return FINALIZER in objects.finalizers(pod)


def is_terminating(pod: Obj) -> bool:
    return objects.is_deleting(pod) and not objects.is_pod_terminal(pod)


def note_finished(job: Obj, status: Obj, pods: list[Obj]) -> Finished:
    """Note finished, tracked pods in ``uncountedTerminatedPods`` and the lists of indexes."""
    tracked = [pod for pod in pods if is_tracked(pod)]
    found = Finished(
        succeeded=[pod for pod in tracked if objects.pod_phase(pod) == "Succeeded"],
        failed=[pod for pod in tracked if has_failed(job, pod)],
    )
    if job_indexes.is_indexed(job):
        _note_indexes(job, status, pods, found)
    for pod in found.succeeded:
        if not job_indexes.is_indexed(job):
            _note(status, "succeeded", pod)
        found.release.append(pod)
    kept = {objects.uid(pod) for pod in found.held_back.values()}
    for pod in found.failed:
        if objects.uid(pod) not in kept:
            note_failed(job, status, pod)
            found.release.append(pod)
    return found


def note_failed(job: Obj, status: Obj, pod: Obj) -> None:
    """Count a pod as failed, unless a policy ignores it or its index does not exist any more."""
    if job_indexes.is_valid(job, pod) and job_policies.counts(job, pod):
        _note(status, "failed", pod)


def _note(status: Obj, outcome: str, pod: Obj) -> None:
    noted = status.setdefault("uncountedTerminatedPods", {}).setdefault(outcome, [])
    if objects.uid(pod) not in noted:
        noted.append(objects.uid(pod))


def _note_indexes(job: Obj, status: Obj, pods: list[Obj], found: Finished) -> None:
    """Settle indexes: succeeded, failed for good, or held back for another try."""
    completed = job_indexes.indexes_in(job, status.get("completedIndexes"))
    completed.update(_indexes(pod for pod in found.succeeded if job_indexes.is_valid(job, pod)))
    status["completedIndexes"] = job_indexes.format_indexes(completed)
    status["succeeded"] = len(completed)
    for empty in [name for name in ("completedIndexes", "succeeded") if not status[name]]:
        del status[empty]
    if not job_indexes.has_limit_per_index(job):
        return
    valid = [pod for pod in found.failed if job_indexes.is_valid(job, pod)]
    failed = job_indexes.indexes_in(job, status.get("failedIndexes"))
    failed.update(_indexes(pod for pod in valid if _fails_index(job, pod)))
    status["failedIndexes"] = job_indexes.format_indexes(failed)
    active = set(_indexes(pod for pod in pods if objects.is_pod_active(pod)))
    found.held_back = job_indexes.last_failed(valid, completed | failed | active)


def _indexes(pods: Iterable[Obj]) -> list[int]:
    return [index for pod in pods if (index := job_indexes.index_of(pod)) is not None]


def _fails_index(job: Obj, pod: Obj) -> bool:
    action, _ = job_policies.failure_rule(job, pod)
    limit = job["spec"]["backoffLimitPerIndex"]
    return action == "FailIndex" or (action != "Ignore" and job_indexes.failures(pod) >= limit)


def count_released(status: Obj, pods: list[Obj]) -> None:
    """Move uids whose pods no longer carry the finalizer into the counters."""
    tracked = {objects.uid(pod) for pod in pods if is_tracked(pod)}
    uncounted = status.get("uncountedTerminatedPods") or {}
    for field_ in ("succeeded", "failed"):
        noted = uncounted.get(field_) or []
        done = [uid for uid in noted if uid not in tracked]
        if done:
            status[field_] = status.get(field_, 0) + len(done)
            uncounted[field_] = [uid for uid in noted if uid in tracked]
        if not uncounted.get(field_):
            uncounted.pop(field_, None)
    status["uncountedTerminatedPods"] = uncounted


def succeeded(status: Obj) -> int:
    noted = (status.get("uncountedTerminatedPods") or {}).get("succeeded") or []
    return status.get("succeeded", 0) + len(noted)


def failed(status: Obj) -> int:
    noted = (status.get("uncountedTerminatedPods") or {}).get("failed") or []
    return status.get("failed", 0) + len(noted)


def restarts(pods: Iterable[Obj]) -> int:
    """Container restarts of running pods, which count as failures with OnFailure."""
    total = 0
    for pod in pods:
        status = objects.status(pod)
        for field_ in ("initContainerStatuses", "containerStatuses"):
            total += sum(one.get("restartCount", 0) for one in status.get(field_) or ())
    return total


def finished_at(pod: Obj) -> float:
    """When the pod ended: its last container, else its deletion, else its creation."""
    ends: list[str] = [
        ((one.get("state") or {}).get("terminated") or {}).get("finishedAt") or ""
        for one in objects.status(pod).get("containerStatuses") or ()
    ]
    if ends and all(ends):
        return max(objects.epoch(end) for end in ends)
    ready = objects.condition(pod, "Ready")
    if ready is not None and ready["status"] == "False" and ready.get("lastTransitionTime"):
        return objects.epoch(ready["lastTransitionTime"])
    meta = pod["metadata"]
    if meta.get("deletionTimestamp"):
        grace = meta.get("deletionGracePeriodSeconds") or 0
        return objects.epoch(meta["deletionTimestamp"]) - grace
    return objects.epoch(meta["creationTimestamp"])
