"""The counting side of Jobs: which pods are finished, indexes, conditions. Pure functions.

Finished pods are counted exactly once, although pods vanish: each carries the finalizer
``batch.kubernetes.io/job-tracking`` until its uid has been noted in
``status.uncountedTerminatedPods`` and then in the counters (KEP-2307).
"""

from collections.abc import Iterable

from kybern.api import objects
from kybern.api.errors import Obj

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
END_CONDITIONS = ("Complete", "Failed")
TARGET_OF = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


def is_finished(job: Obj) -> bool:
    return any(objects.condition_is(job, type_) for type_ in END_CONDITIONS)


def is_indexed(job: Obj) -> bool:
    return job["spec"].get("completionMode") == "Indexed"


def is_suspended(job: Obj) -> bool:
    return bool(job["spec"].get("suspend"))


def has_failed(job: Obj, pod: Obj) -> bool:
    """Failed, or on its way out where the Job replaces terminating pods."""
    phase = objects.pod_phase(pod)
    if phase == "Failed":
        return True
    replaces_failed_only = job["spec"].get("podReplacementPolicy") == "Failed"
    return objects.is_deleting(pod) and phase != "Succeeded" and not replaces_failed_only


def is_tracked(pod: Obj) -> bool:
    return FINALIZER in objects.finalizers(pod)


def index_of(pod: Obj) -> int | None:
    text = objects.annotations(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def parse_indexes(text: str) -> set[int]:
    """``1,3-5`` as a set."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """A set as ``1,3-5``."""
    parts: list[str] = []
    ordered = sorted(indexes)
    position = 0
    while position < len(ordered):
        end = position
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        first, last = ordered[position], ordered[end]
        if first == last:
            parts.append(str(first))
        else:
            parts.append(f"{first}{',' if last == first + 1 else '-'}{last}")
        position = end + 1
    return ",".join(parts)


def note_finished(job: Obj, status: Obj, pods: list[Obj]) -> list[Obj]:
    """Note finished, tracked pods in ``uncountedTerminatedPods``; returns those to release."""
    uncounted = status.setdefault("uncountedTerminatedPods", {})
    completed = parse_indexes(status.get("completedIndexes", ""))
    release: list[Obj] = []
    for pod in pods:
        if not is_tracked(pod):
            continue
        succeeded = objects.pod_phase(pod) == "Succeeded"
        if not succeeded and not has_failed(job, pod):
            continue
        release.append(pod)
        if succeeded and is_indexed(job):
            index = index_of(pod)
            if index is not None and index < (job["spec"].get("completions") or 0):
                completed.add(index)
            continue
        field = "succeeded" if succeeded else "failed"
        noted = uncounted.setdefault(field, [])
        if objects.uid(pod) not in noted:
            noted.append(objects.uid(pod))
    if is_indexed(job):
        text = format_indexes(completed)
        if text:
            status["completedIndexes"] = text
        if completed:
            status["succeeded"] = len(completed)
    return release


def count_released(status: Obj, pods: list[Obj]) -> None:
    """Move uids whose pods no longer carry the finalizer into the counters."""
    tracked = {objects.uid(pod) for pod in pods if is_tracked(pod)}
    uncounted = status.get("uncountedTerminatedPods") or {}
    for field in ("succeeded", "failed"):
        noted = uncounted.get(field) or []
        done = [uid for uid in noted if uid not in tracked]
        if done:
            status[field] = status.get(field, 0) + len(done)
            uncounted[field] = [uid for uid in noted if uid in tracked]
        if not uncounted.get(field):
            uncounted.pop(field, None)
    status["uncountedTerminatedPods"] = uncounted


def succeeded(job: Obj, status: Obj) -> int:
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
        for field in ("initContainerStatuses", "containerStatuses"):
            total += sum(one.get("restartCount", 0) for one in status.get(field) or ())
    return total
