"""The pause before a Job's next pod: from 10 seconds, doubling with each failure, to 10 minutes.

Remembered in memory only, by Job: a new controller starts without pauses, as upstream. An index
with a limit of its own pauses by the failures that its last pod carries.
"""

from dataclasses import dataclass

from kybern.api.errors import Obj
from kybern.controllers import job_indexes
from kybern.controllers.job_status import Finished, finished_at

FIRST_PAUSE_SECONDS = 10.0
MAX_PAUSE_SECONDS = 600.0


@dataclass(slots=True)
class _Failures:
    """Failures since the last success, and when the last one was."""

    in_row: int = 0
    last: float = 0.0


class JobBackoff:
    """Failures by Job key."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}
        # Pods that were seen already; they stay finished until their finalizer is gone.
        self._seen: dict[str, set[str]] = {}

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)
        self._seen.pop(key, None)

    def note(self, key: str, finished: Finished) -> None:
        """Note pods that have finished since the last look."""
        before = self._seen.get(key, set())
        new = [
            (finished_at(pod), outcome)
            for outcome, pods in (("ok", finished.succeeded), ("failed", finished.failed))
            for pod in pods
            if pod["metadata"]["uid"] not in before
        ]
        everyone = [*finished.succeeded, *finished.failed]
        self._seen[key] = {pod["metadata"]["uid"] for pod in everyone}
        record = self._failures.setdefault(key, _Failures())
        for time, outcome in sorted(new, key=lambda one: (one[0], one[1] == "ok")):
            if outcome == "ok":
                record.in_row = 0
            else:
                record.in_row += 1
                record.last = max(record.last, time)

    def pause(self, key: str, now: float) -> float:
        """Seconds to wait before any pod is created."""
        record = self._failures.get(key)
        return _left(record.in_row, record.last, now) if record is not None else 0.0


def index_pause(last_failed: Obj | None, now: float) -> float:
    """Seconds to wait before the index of a failed pod gets its next one."""
    if last_failed is None:
        return 0.0
    return _left(job_indexes.all_failures(last_failed) + 1, finished_at(last_failed), now)


def _left(failures: int, last: float, now: float) -> float:
    if failures == 0:
        return 0.0
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 16), MAX_PAUSE_SECONDS)
    return max(last + pause - now, 0.0)
