"""A pending pod with its history, and the heaps of the scheduling queue."""

import heapq
from collections.abc import Callable
from enum import Enum
from typing import Any

from kybern.scheduler.configuration import DEFAULT_SCHEDULER
from kybern.scheduler.plugins.priority_sort import PrioritySort

Obj = dict[str, Any]
SortKey = tuple[float, ...]


class Place(Enum):
    """Where a pending pod is."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    ERROR_BACKOFF = "backoff after an error"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    NOWHERE = "nowhere"


class QueuedPod:
    """A pending pod; times are the clock's monotonic seconds."""

    __slots__ = (
        "attempts",
        "backoff_until",
        "error_count",
        "first_attempt",
        "flushed",
        "gated_by",
        "place",
        "pod",
        "pooled_at",
        "rejected_by",
        "sequence",
        "ticket",
        "timestamp",
        "uid",
        "unschedulable_count",
    )

    def __init__(self, pod: Obj, now: float, sequence: int) -> None:
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.timestamp = now
        self.sequence = sequence
        self.first_attempt: float | None = None
        self.attempts = 0
        self.unschedulable_count = 0
        self.error_count = 0
        self.backoff_until = 0.0
        self.pooled_at = 0.0
        self.rejected_by: tuple[str, ...] = ()
        self.gated_by = ""
        self.flushed = False
        self.place = Place.NOWHERE
        self.ticket = 0

    @property
    def scheduler_name(self) -> str:
        return self.pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER

    @property
    def order(self) -> SortKey:
        """The order of the active heap; the sequence keeps equal pods first come, first served."""
        return (*PrioritySort.sort_key(self.pod, self.timestamp), self.sequence)


class PodHeap:
    """A heap of pods in one place; those that left are dropped lazily.

    Dead entries never outnumber the live ones by more than ``SLACK``.
    """

    SLACK = 64

    def __init__(self, place: Place, key: Callable[[QueuedPod], SortKey]) -> None:
        self._place = place
        self._key = key
        self._entries: list[tuple[SortKey, int, QueuedPod]] = []
        self._live = 0
        self._tickets = 0

    def __len__(self) -> int:
        return self._live

    def push(self, queued: QueuedPod) -> None:
        self._tickets += 1
        queued.place, queued.ticket = self._place, self._tickets
        heapq.heappush(self._entries, (self._key(queued), self._tickets, queued))
        self._live += 1

    def first(self) -> QueuedPod | None:
        while self._entries:
            if self._is_live(self._entries[0]):
                return self._entries[0][2]
            heapq.heappop(self._entries)
        return None

    def pop(self) -> QueuedPod | None:
        queued = self.first()
        if queued is not None:
            self.discard(queued)
        return queued

    def discard(self, queued: QueuedPod) -> None:
        """Take out a pod that is here."""
        queued.place = Place.NOWHERE
        self._live -= 1
        if len(self._entries) > 2 * self._live + self.SLACK:
            self._entries = [entry for entry in self._entries if self._is_live(entry)]
            heapq.heapify(self._entries)

    def _is_live(self, entry: tuple[SortKey, int, QueuedPod]) -> bool:
        _, ticket, queued = entry
        return queued.place is self._place and queued.ticket == ticket
