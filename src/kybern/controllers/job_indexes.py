"""Completion indexes of Jobs: their text form, whose turn is next, how often each has failed.

Pure functions. With ``backoffLimitPerIndex`` (KEP-3850) the last failed pod of an index stays, with
its finalizer, until its successor exists: it carries how often the index has failed.
"""

from collections.abc import Iterable, Sequence

from kybern.api import objects
from kybern.api.errors import Obj

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"


def is_indexed(job: Obj) -> bool:
    return job["spec"].get("completionMode") == "Indexed"


def has_limit_per_index(job: Obj) -> bool:
    return job["spec"].get("backoffLimitPerIndex") is not None


def index_of(pod: Obj) -> int | None:
    text = objects.annotations(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def is_valid(job: Obj, pod: Obj) -> bool:
    """The pod's index is one of the Job's; pods of Jobs without indexes are all valid."""
    if not is_indexed(job):
        return True
    index = index_of(pod)
    return index is not None and index < (job["spec"].get("completions") or 0)


def indexes_in(job: Obj, text: str | None) -> set[int]:
    """Indexes from a status field; those beyond ``completions`` do not exist any more."""
    completions = job["spec"].get("completions") or 0
    return {index for index in parse_indexes(text or "") if index < completions}


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


def failures(pod: Obj) -> int:
    """How often the pod's index had failed before it, as far as that counts."""
    return _number(pod, FAILURES)


def all_failures(pod: Obj) -> int:
    return failures(pod) + _number(pod, IGNORED_FAILURES)


def _number(pod: Obj, annotation: str) -> int:
    text = objects.annotations(pod).get(annotation, "")
    return int(text) if text.isdigit() else 0


def last_failed(failed: Iterable[Obj], settled: set[int]) -> dict[int, Obj]:
    """The failed pod of each index that is not settled (succeeded, failed or running)."""
    last: dict[int, Obj] = {}
    for pod in failed:
        index = index_of(pod)
        if index is None or index in settled:
            continue
        if index not in last or all_failures(last[index]) <= all_failures(pod):
            last[index] = pod
    return last


def surplus(job: Obj, pods: Sequence[Obj]) -> list[Obj]:
    """Of pods in the order of their removal those with an index that another has, or nobody."""
    if not is_indexed(job):
        return []
    kept: set[int | None] = set()
    found: list[Obj] = []
    for pod in reversed(pods):
        index = index_of(pod)
        if not is_valid(job, pod) or index in kept:
            found.append(pod)
        kept.add(index)
    return found[::-1]
