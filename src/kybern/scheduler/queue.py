"""The scheduling queue: pending pods in three parts.

Active pods wait in a heap by priority and age; pods that failed wait in backoff (1 s doubling to
10 s) or, while nothing has happened that could help them, in the unschedulable pool (5 minutes at
most). Cluster events come through :meth:`SchedulingQueue.move`, which asks the queueing hints of
the plugins that rejected each pod. Events that arrive while a pod is being tried are kept and
replayed when it comes back. Gated pods wait in the pool until the gating plugin lets them go.

Pure: the scheduler calls it from one task and waits outside. Memory is bounded by the pods.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kybern.scheduler.events import (
    UNSCHEDULED_POD_ADD,
    WILDCARD,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    pod_changes,
)
from kybern.scheduler.queued_pod import Place, PodHeap, QueuedPod

Obj = dict[str, Any]
Registrations = Mapping[str, tuple[Registration, ...]]
Gate = Callable[[Obj], tuple[str, str] | None]
Change = tuple[ClusterEvent, Obj | None, Obj | None]

MAX_UNSCHEDULABLE_SECONDS = 300.0
# Of this many queueing hints one is timed.
HINTS_PER_SAMPLE = 10

# What brings a pod into a part of the queue.
ADDED = UNSCHEDULED_POD_ADD.label
ATTEMPT_FAILED = "ScheduleAttemptFailure"
BACKOFF_OVER = "BackoffComplete"
BACKOFF_CUT = "PopFromBackoffQ"
ACTIVATED = "ForceActivate"
WAITED_TOO_LONG = "UnschedulableTimeout"


class SchedulingQueue:
    """Pending pods of all profiles."""

    def __init__(
        self,
        now: Callable[[], float],
        registrations: Mapping[str, Registrations],
        gate: Gate,
        initial_backoff: float = 1.0,
        max_backoff: float = 10.0,
    ) -> None:
        self._now = now
        self._registrations = registrations
        self._gate = gate
        self._initial_backoff = initial_backoff
        self._max_backoff = max_backoff
        self._pods: dict[str, QueuedPod] = {}
        self._active = PodHeap(Place.ACTIVE, lambda queued: queued.order)
        self._backoff = PodHeap(Place.BACKOFF, _backoff_order)
        self._error_backoff = PodHeap(Place.ERROR_BACKOFF, _backoff_order)
        # There are as many kinds of events as resources have actions.
        self._interest: dict[ClusterEvent, bool] = {}
        self._unschedulable: dict[str, QueuedPod] = {}
        self._gated: dict[str, QueuedPod] = {}
        self._in_flight: dict[str, int] = {}
        self._happened: list[Change] = []
        self._happened_before = 0
        self._sequence = 0
        self._hints = 0
        # How many pods came into each part, by its name and what brought them.
        self.incoming: dict[tuple[str, ...], int] = {}
        self.on_active: Callable[[], None] = lambda: None
        self.on_hint: Callable[[str, ClusterEvent, Hint, float], None] = lambda *told: None

    def __len__(self) -> int:
        return len(self._pods)

    def counts(self) -> dict[str, int]:
        """Pods in each part, by upstream's names."""
        return {
            "active": len(self._active),
            "backoff": len(self._backoff) + len(self._error_backoff),
            "unschedulable": len(self._unschedulable),
            "gated": len(self._gated),
        }

    def rejections(self) -> dict[tuple[str, ...], int]:
        """How many waiting pods each plugin turned down, by plugin and scheduler name."""
        counts: dict[tuple[str, ...], int] = {}
        for queued in self._pods.values():
            for plugin in queued.rejected_by:
                key = (plugin, queued.scheduler_name)
                counts[key] = counts.get(key, 0) + 1
        return counts

    def events_in_flight(self) -> dict[str, int]:
        """The events kept for pods that are being tried, and those pods, by name."""
        counts = {"PodPopped": len(self._in_flight)}
        for event, _, _ in self._happened:
            counts[event.label] = counts.get(event.label, 0) + 1
        return counts

    def get(self, uid: str) -> QueuedPod | None:
        return self._pods.get(uid)

    def add(self, pod: Obj) -> None:
        """A pod that wants a node."""
        uid = pod["metadata"]["uid"]
        if uid in self._pods or uid in self._in_flight:
            return
        queued = QueuedPod(pod, self._now(), self._next_sequence())
        self._pods[uid] = queued
        self._to_active(queued, ADDED)

    def update(self, old: Obj, new: Obj) -> None:
        """A pending pod changed; the change itself may be what it waited for."""
        uid = new["metadata"]["uid"]
        changes = pod_changes(old, new)
        if uid in self._in_flight:
            for change in changes:
                self._happened.append((change, old, new))
            return
        queued = self._pods.get(uid)
        if queued is None:
            self.add(new)
            return
        queued.pod = new
        if queued.place not in (Place.UNSCHEDULABLE, Place.GATED):
            return
        for change in changes:
            if self._may_leave(queued, change) and self._is_worth(queued, change, old, new):
                self._requeue(queued, change.label)
                return

    def delete(self, uid: str) -> None:
        """The pod is gone or bound."""
        queued = self._pods.pop(uid, None)
        if queued is not None:
            self._leave(queued)

    def pop(self) -> QueuedPod | None:
        """The next pod to try; with nothing else to do, one that still backs off."""
        self.flush()
        queued = self._active.pop()
        if queued is None:
            queued = self._backoff.pop()
            if queued is None:
                return None
            self._came("active", BACKOFF_CUT)
        uid = queued.uid
        del self._pods[uid]
        queued.attempts += 1
        self._in_flight[uid] = self._happened_before + len(self._happened)
        return queued

    def done(self, uid: str) -> None:
        """The pod that was popped has a node or no longer matters."""
        self._in_flight.pop(uid, None)
        self._forget_happened()

    def add_unschedulable(self, queued: QueuedPod, plugins: tuple[str, ...]) -> None:
        """A tried pod comes back. Without ``plugins`` an error is to blame and it backs off;
        else it waits for an event that helps one of them, also among those missed meanwhile."""
        started = self._in_flight.get(queued.uid, self._happened_before + len(self._happened))
        missed = self._happened[max(0, started - self._happened_before) :]
        if queued.uid in self._pods:
            self.done(queued.uid)
            return
        if plugins:
            queued.unschedulable_count += 1
            queued.error_count = 0
        else:
            queued.error_count += 1
        queued.rejected_by = plugins
        queued.flushed = False
        queued.timestamp = self._now()
        queued.backoff_until = queued.timestamp + self._backoff_seconds(queued)
        self._pods[queued.uid] = queued
        helped = not plugins or any(self._is_worth(queued, *change) for change in missed)
        if helped:
            self._requeue(queued, ATTEMPT_FAILED)
        else:
            self._to_pool(queued, ATTEMPT_FAILED)
        self.done(queued.uid)

    def move(
        self,
        event: ClusterEvent,
        old: Obj | None,
        new: Obj | None,
        admits: Callable[[Obj], bool] | None = None,
    ) -> None:
        """Something happened: bring back the pods that it may help (of those ``admits`` lets)."""
        if not self._is_of_interest(event):
            return
        if self._in_flight:
            self._happened.append((event, old, new))
        for queued in [*self._unschedulable.values(), *self._gated.values()]:
            if admits is not None and not admits(queued.pod):
                continue
            if self._may_leave(queued, event) and self._is_worth(queued, event, old, new):
                self._requeue(queued, event.label)

    def activate(self, uid: str) -> None:
        """Try this pod again at once, wherever it waits."""
        queued = self._pods.get(uid)
        if queued is None:
            if uid in self._in_flight:
                self._happened.append((WILDCARD, None, {"metadata": {"uid": uid}}))
            return
        if queued.place is not Place.ACTIVE:
            self._to_active(queued, ACTIVATED)

    def flush(self) -> None:
        """Backoffs that ended, and pods that sat in the pool for too long."""
        now = self._now()
        for heap in (self._backoff, self._error_backoff):
            while (first := heap.first()) is not None and first.backoff_until <= now:
                self._to_active(first, BACKOFF_OVER, gate=False)
        for queued in list(self._unschedulable.values()):
            if queued.pooled_at + MAX_UNSCHEDULABLE_SECONDS > now:
                break
            queued.flushed = True
            self._requeue(queued, WAITED_TOO_LONG)

    def next_flush(self) -> float | None:
        """When :meth:`flush` has something to do; None if nothing waits."""
        first = (self._backoff.first(), self._error_backoff.first())
        times = [queued.backoff_until for queued in first if queued is not None]
        waiting = next(iter(self._unschedulable.values()), None)
        if waiting is not None:
            times.append(waiting.pooled_at + MAX_UNSCHEDULABLE_SECONDS)
        return min(times, default=None)

    def _to_active(self, queued: QueuedPod, cause: str, gate: bool = True) -> None:
        if gate and self._hold(queued, cause):
            return
        if queued.first_attempt is None:
            queued.first_attempt = self._now()
        self._leave(queued)
        self._active.push(queued)
        self._came("active", cause)
        self.on_active()

    def _hold(self, queued: QueuedPod, cause: str) -> bool:
        """Ask the gates; a gated pod goes to its part of the pool."""
        held = self._gate(queued.pod)
        if held is None:
            queued.gated_by = ""
            return False
        queued.gated_by = held[0]
        if held[0] not in queued.rejected_by:
            queued.rejected_by = (*queued.rejected_by, held[0])
        if queued.place is not Place.GATED:
            self._came("unschedulable", cause)
        self._leave(queued)
        queued.place = Place.GATED
        self._gated[queued.uid] = queued
        return True

    def _to_pool(self, queued: QueuedPod, cause: str) -> None:
        self._leave(queued)
        self._came("unschedulable", cause)
        queued.place = Place.UNSCHEDULABLE
        queued.pooled_at = self._now()
        self._unschedulable[queued.uid] = queued

    def _requeue(self, queued: QueuedPod, cause: str) -> None:
        """To backoff if it is not over, else to the active heap."""
        if queued.backoff_until <= self._now():
            self._to_active(queued, cause)
            return
        if self._hold(queued, cause):
            return
        self._leave(queued)
        self._came("backoff", cause)
        (self._backoff if queued.rejected_by else self._error_backoff).push(queued)
        self.on_active()

    def _came(self, part: str, cause: str) -> None:
        key = (part, cause)
        self.incoming[key] = self.incoming.get(key, 0) + 1

    def _leave(self, queued: QueuedPod) -> None:
        """Out of the part that it is in."""
        if queued.place is Place.ACTIVE:
            self._active.discard(queued)
        elif queued.place is Place.BACKOFF:
            self._backoff.discard(queued)
        elif queued.place is Place.ERROR_BACKOFF:
            self._error_backoff.discard(queued)
        elif queued.place is Place.UNSCHEDULABLE:
            del self._unschedulable[queued.uid]
        elif queued.place is Place.GATED:
            del self._gated[queued.uid]
        queued.place = Place.NOWHERE

    def _may_leave(self, queued: QueuedPod, event: ClusterEvent) -> bool:
        """A gated pod moves only on events that its gating plugin registered for."""
        if not queued.gated_by:
            return True
        registered = self._registrations[queued.scheduler_name].get(queued.gated_by, ())
        return any(r.event.covers(event) for r in registered)

    def _is_of_interest(self, event: ClusterEvent) -> bool:
        if event.resource is EventResource.WILDCARD:
            return True
        found = self._interest.get(event)
        if found is None:
            found = self._interest[event] = any(
                registration.event.covers(event)
                for plugins in self._registrations.values()
                for registrations in plugins.values()
                for registration in registrations
            )
        return found

    def _is_worth(
        self, queued: QueuedPod, event: ClusterEvent, old: Obj | None, new: Obj | None
    ) -> bool:
        """Whether the event could help a plugin that rejected the pod."""
        if not queued.rejected_by:
            return True
        if event.resource is EventResource.WILDCARD:
            return new is None or new["metadata"]["uid"] == queued.uid
        registrations = self._registrations[queued.scheduler_name]
        return any(
            registration.event.covers(event)
            and self._ask(plugin, registration, queued.pod, (event, old, new)) is Hint.QUEUE
            for plugin in queued.rejected_by
            for registration in registrations.get(plugin, ())
        )

    def _ask(self, plugin: str, registration: Registration, pod: Obj, change: Change) -> Hint:
        """A queueing hint; now and then it is timed."""
        event, old, new = change
        self._hints += 1
        if self._hints % HINTS_PER_SAMPLE != 1:
            return registration.hint(pod, old, new)
        started = self._now()
        hint = registration.hint(pod, old, new)
        self.on_hint(plugin, event, hint, self._now() - started)
        return hint

    def _backoff_seconds(self, queued: QueuedPod) -> float:
        count = queued.error_count or queued.unschedulable_count
        # Beyond 32 doublings every backoff is the longest one.
        return float(min(self._initial_backoff * 2 ** min(count - 1, 32), self._max_backoff))

    def _forget_happened(self) -> None:
        """Events that every pod in flight has started after are of no use."""
        if not self._in_flight:
            self._happened_before += len(self._happened)
            self._happened.clear()
            return
        oldest = min(self._in_flight.values())
        if oldest > self._happened_before:
            del self._happened[: oldest - self._happened_before]
            self._happened_before = oldest

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence


def _backoff_order(queued: QueuedPod) -> tuple[float, ...]:
    return (queued.backoff_until, *queued.order)
