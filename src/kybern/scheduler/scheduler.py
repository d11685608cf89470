"""The scheduler at work: pop a pod, decide, assume, bind, and handle what goes wrong.

``main.run`` makes one and runs it. Informers feed :class:`Intake`; one loop takes decisions (a
decision never waits); binds and status patches leave through outboxes. A failed bind un-assumes and
tries the pod again after a backoff. Every decision is counted in the columns at once, so the next
one sees it long before the API server does.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from kybern.api.errors import StatusError
from kybern.api.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    DEVICE_CLASSES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)
from kybern.client import Client, Informers, SeriesRecorder
from kybern.client.informer import object_key
from kybern.client.transport import ApiUnreachable
from kybern.component.clock import Clock
from kybern.scheduler.binding import Binder
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import Settings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.event_times import EventTimes
from kybern.scheduler.events import EventResource
from kybern.scheduler.explain.explainer import Explainer
from kybern.scheduler.explain.publisher import Publisher
from kybern.scheduler.explain.verdicts import Verdicts
from kybern.scheduler.extenders.asking import Extenders, registrations_of
from kybern.scheduler.extenders.errors import ExtenderError
from kybern.scheduler.intake import Intake, is_assigned
from kybern.scheduler.kept_objects import KeptObjects
from kybern.scheduler.metrics import ERROR, SCHEDULED, UNSCHEDULABLE, Metrics, Source
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.outbox import Outbox
from kybern.scheduler.plugin_times import PluginTimes
from kybern.scheduler.pod_status import event_note, patch_status, scheduled_condition
from kybern.scheduler.post_filter import PostFilter
from kybern.scheduler.preemption_search import Outcome
from kybern.scheduler.preemptor import Preemptor
from kybern.scheduler.profile import Profile
from kybern.scheduler.queue import SchedulingQueue
from kybern.scheduler.queued_pod import QueuedPod

Obj = dict[str, Any]

logger = logging.getLogger(__name__)

LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"
PATCHES_AT_ONCE = 16
WAITING_CALLS = 1024

# With more under way, the API server's time is better spent on them than on events.
FEW_BINDINGS = 16

# After this many decisions the loop lets informers and outboxes run.
DECISIONS_PER_TURN = 16


class Scheduler:
    """One scheduler with all its profiles."""

    def __init__(self, client: Client, clock: Clock, settings: Settings) -> None:
        self._client = client
        self._clock = clock
        self.cluster = ClusterColumns()
        self.nominations = Nominations()
        self.profiles = {
            profile.scheduler_name: Profile(profile, self.cluster) for profile in settings.profiles
        }
        self._deciders = {
            name: Decider(self.cluster, profile, self.nominations, clock.random)
            for name, profile in self.profiles.items()
        }
        self._recorders = {
            name: SeriesRecorder(client, clock, name, is_busy=self._is_busy)
            for name in self.profiles
        }
        self._extenders = Extenders(settings.extenders) if settings.extenders else None
        self.queue = SchedulingQueue(
            clock.monotonic,
            {
                name: {**profile.registrations(), **registrations_of(settings.extenders)}
                for name, profile in self.profiles.items()
            },
            self._gate,
            settings.initial_backoff_seconds,
            settings.max_backoff_seconds,
        )
        self.intake = Intake(self.cluster, self.queue, self.nominations, self.profiles)
        self._patches = Outbox("pod status", PATCHES_AT_ONCE, WAITING_CALLS)
        self._informers = Informers(client)
        kept = KeptObjects()
        # Extenders are sent whole objects.
        keeps = (None, None) if settings.extenders else (kept.node, kept.pod)
        self._nodes = self._informers.informer(NODES, keep=keeps[0])
        self._pods = self._informers.informer(PODS, field_selector=LIVE_PODS, keep=keeps[1])
        self.verdicts = Verdicts(clock)
        explainer = Explainer(
            clock,
            self.cluster,
            self._deciders,
            self.queue,
            self.nominations,
            self.intake.assumed,
            self.verdicts,
        )
        self._publisher = Publisher(client, self._pods, explainer.explain)
        self._binding = 0
        self.metrics = Metrics(self._sources())
        self._plugin_times = PluginTimes(clock, self.metrics)
        self._binder = Binder(
            client,
            clock,
            self.cluster.storage,
            self._extenders,
            self._bound,
            self._bind_failed,
            self.metrics,
        )
        self.queue.on_hint = self.metrics.hinted
        preemptor = Preemptor(
            client,
            clock,
            self._patches,
            self.nominations,
            self.queue,
            self.metrics,
            self._binder.cancel,
        )
        self._post_filter = PostFilter(
            self._deciders,
            self._pods,
            self._informers.informer(POD_DISRUPTION_BUDGETS),
            self.nominations,
            self._recorders,
            preemptor,
            self._binder,
            self._patches,
            clock,
            self.metrics,
        )
        self._wake = asyncio.Event()
        self.queue.on_active = self._wake.set

    async def run(self) -> None:
        """Schedule until cancelled."""
        # Nodes come first, so that pods find theirs.
        timed = EventTimes(self._clock, self.metrics)
        self._nodes.on_change(timed.nodes(self.intake.node_changed))
        self._informers.informer(NAMESPACES).on_change(self.intake.namespace_changed)
        workloads = self.cluster.workloads
        self._informers.informer(SERVICES).on_change(workloads.service_changed)
        for owners in (REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS):
            self._informers.informer(owners).on_change(workloads.owner_changed)
        self._watch_storage(timed)
        self._pods.on_change(timed.pods(self.intake.pod_changed))
        self._pods.on_change(self._publisher.pod_changed)
        try:
            await self._informers.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._binder.run(), name="bindings")
                group.create_task(self._patches.run(), name="pod status patches")
                group.create_task(self._publisher.run(), name="explanations")
                group.create_task(self._schedule_forever(), name="scheduling")
        finally:
            await self._informers.stop()
            for recorder in self._recorders.values():
                await recorder.close()
            if self._extenders is not None:
                await self._extenders.close()

    def _sources(self) -> dict[str, Source]:
        queue, profiles = self.queue, self.profiles.values()
        return {
            "pending_pods": lambda: _by_label(queue.counts()),
            "cache_size": lambda: _by_label(self._cache_sizes()),
            "inflight_events": lambda: _by_label(queue.events_in_flight()),
            "goroutines": lambda: {("binding",): self._binding},
            "unschedulable_pods": queue.rejections,
            "queue_incoming_pods_total": lambda: queue.incoming,
            "plugin_evaluation_total": lambda: {
                labels: count
                for profile in profiles
                for labels, count in profile.evaluations().items()
            },
        }

    def pods(self) -> list[Obj]:
        """The pods of the cluster that have not ended."""
        return self._pods.list()

    def _is_busy(self) -> bool:
        """Whether pods wait for their binding: events can wait longer than they."""
        return self._binding > FEW_BINDINGS

    def _cache_sizes(self) -> dict[str, int]:
        cluster, assumed = self.cluster, len(self.intake.assumed)
        return {
            "nodes": cluster.nodes.node_count,
            "pods": len(cluster.pods),
            "assumed_pods": assumed,
        }

    def is_synced(self) -> bool:
        """The pods of the cluster are known, and with them all that came before."""
        return self._pods.synced()

    def _watch_storage(self, timed: EventTimes) -> None:
        storage = self.cluster.storage
        watched = (
            (STORAGE_CLASSES, EventResource.STORAGE_CLASS, storage.class_changed),
            (PERSISTENT_VOLUMES, EventResource.PERSISTENT_VOLUME, storage.volume_changed),
            (
                PERSISTENT_VOLUME_CLAIMS,
                EventResource.PERSISTENT_VOLUME_CLAIM,
                storage.claim_changed,
            ),
            (CSI_NODES, EventResource.CSI_NODE, storage.csi_node_changed),
            (CSI_DRIVERS, EventResource.CSI_DRIVER, storage.csi_driver_changed),
            (
                CSI_STORAGE_CAPACITIES,
                EventResource.CSI_STORAGE_CAPACITY,
                storage.capacity_changed,
            ),
            (VOLUME_ATTACHMENTS, EventResource.VOLUME_ATTACHMENT, storage.attachment_changed),
            (RESOURCE_CLAIMS, EventResource.RESOURCE_CLAIM, storage.resource_claim_changed),
            (RESOURCE_SLICES, EventResource.RESOURCE_SLICE, storage.resource_slice_changed),
            (DEVICE_CLASSES, EventResource.DEVICE_CLASS, storage.device_class_changed),
        )
        for resource, event, note in watched:
            handler = self.intake.storage_changed(event, note)
            self._informers.informer(resource).on_change(timed.objects(event, handler))
        for awaited in (PERSISTENT_VOLUME_CLAIMS, RESOURCE_CLAIMS):
            claims = self._informers.informer(awaited)
            claims.on_change(lambda old, new: self._binder.claims_changed())

    async def _schedule_forever(self) -> None:
        turns = 0
        while True:
            await self._binder.room()
            await self._patches.room()
            queued = self.queue.pop()
            if queued is None:
                await self._wait()
                continue
            if self._extenders is not None and self._extenders.are_asked_about(queued.pod):
                await self._try_with_extenders(queued, self._extenders)
            else:
                self._try(queued)
            turns += 1
            if turns % DECISIONS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        """Until a pod becomes active or the queue has something to flush."""
        self._wake.clear()
        flush_at = self.queue.next_flush()
        seconds = None if flush_at is None else max(0.0, flush_at - self._clock.monotonic())
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _try(self, queued: QueuedPod) -> None:
        if self._skips(queued):
            return
        started = self._clock.monotonic()
        try:
            outcome = self._deciders[queued.scheduler_name].decide(queued.pod)
        except Exception as error:
            logger.exception("deciding about %s failed", object_key(queued.pod))
            self._attempt_failed(queued, started, error)
            return
        if isinstance(outcome, Placement):
            self._attempted(queued, SCHEDULED, started)
            self._plugin_times.decided(self._deciders[queued.scheduler_name], queued.pod)
            self._assume(queued, outcome)
        else:
            self._attempted(queued, UNSCHEDULABLE, started)
            self._plugin_times.decided(self._deciders[queued.scheduler_name], queued.pod)
            self._no_fit(queued, outcome, self._post_filter.search(queued, outcome))

    async def _try_with_extenders(self, queued: QueuedPod, extenders: Extenders) -> None:
        """The same, in several turns; meanwhile the pod may have gone."""
        if self._skips(queued):
            return
        started = self._clock.monotonic()
        found = None
        try:
            outcome = await extenders.decide(self._deciders[queued.scheduler_name], queued.pod)
            if isinstance(outcome, FitError):
                found = await self._post_filter.ask(queued, outcome, extenders)
        except Exception as error:
            if not isinstance(error, ExtenderError):
                logger.exception("deciding about %s failed", object_key(queued.pod))
            self._attempt_failed(queued, started, error)
            return
        if self._is_gone(queued):
            self.queue.done(queued.uid)
        elif isinstance(outcome, Placement):
            self._attempted(queued, SCHEDULED, started)
            self._assume(queued, outcome)
        else:
            self._attempted(queued, UNSCHEDULABLE, started)
            self._no_fit(queued, outcome, found)

    def _skips(self, queued: QueuedPod) -> bool:
        """Whether the pod needs no decision (any more)."""
        pod = queued.pod
        if "deletionTimestamp" in pod["metadata"]:
            name = object_key(pod)
            self._record(
                pod,
                "Warning",
                "FailedScheduling",
                "Scheduling",
                f"skip schedule deleting pod: {name}",
            )
        elif queued.uid not in self.intake.assumed:
            return False
        self.queue.done(queued.uid)
        return True

    def _is_gone(self, queued: QueuedPod) -> bool:
        current = self._pods.get(object_key(queued.pod))
        if current is None or current["metadata"]["uid"] != queued.uid:
            return True
        return is_assigned(current) or "deletionTimestamp" in current["metadata"]

    def _attempted(self, queued: QueuedPod, result: str, started: float) -> None:
        seconds = self._clock.monotonic() - started
        self.metrics.attempted(queued.scheduler_name, result, seconds)

    def _attempt_failed(self, queued: QueuedPod, started: float, error: Exception) -> None:
        self._attempted(queued, ERROR, started)
        self._failed(queued, (), "SchedulerError", str(error))

    def _assume(self, queued: QueuedPod, placement: Placement) -> None:
        node, profile = placement.node, queued.scheduler_name
        self.verdicts.placed(queued, placement, self._deciders[profile])
        self.cluster.place(queued.pod, node)
        self.intake.assumed[queued.uid] = node
        self.nominations.remove(queued.uid)
        self.queue.done(queued.uid)
        self._binding += 1
        self._binder.add(queued, node, placement.row, self.profiles[profile].by_name)

    def _bound(self, queued: QueuedPod, node: str) -> None:
        self._binding -= 1
        if queued.first_attempt is not None:
            waited = self._clock.monotonic() - queued.first_attempt
            self.metrics.bound(queued.attempts, waited, queued.flushed)
        meta = queued.pod["metadata"]
        message = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._record(queued.pod, "Normal", "Scheduled", "Binding", message)

    def _bind_failed(self, queued: QueuedPod, message: str) -> None:
        """The outcome may be unknown: if the pod is bound after all, its event says so."""
        self._binding -= 1
        self.intake.forget(queued.pod)
        self._failed(queued, (), "SchedulerError", message)

    def _no_fit(self, queued: QueuedPod, error: FitError, outcome: Outcome | None) -> None:
        """Preempt if that helps; the pod waits, with the node nominated, until its room is free."""
        nomination = self._post_filter.settle(queued, error, outcome)
        self._failed(queued, error.plugins, "Unschedulable", error.message, nomination)

    def _failed(
        self,
        queued: QueuedPod,
        plugins: tuple[str, ...],
        reason: str,
        message: str,
        nomination: str | None = "",
    ) -> None:
        """Back to the queue if the pod is still there and pending; tell people why."""
        current = self._pods.get(object_key(queued.pod))
        is_same = current is not None and current["metadata"]["uid"] == queued.uid
        if current is None or not is_same or is_assigned(current):
            self.queue.done(queued.uid)
            return
        queued.pod = current
        self.verdicts.failed(queued, message)
        self._publisher.note(current)
        self.queue.add_unschedulable(queued, plugins)
        self._record(current, "Warning", "FailedScheduling", "Scheduling", event_note(message))
        status = self._nominate(current, nomination)
        condition = scheduled_condition(current, reason, message, self._clock.timestamp())
        if condition is not None:
            status["conditions"] = [condition]
        if status:
            self._patches.add(partial(self._patch, current, status))

    def _nominate(self, pod: Obj, node: str | None) -> Obj:
        """Note the nomination (None keeps it, "" clears it); returns the status to write."""
        if node is None:
            return {}
        if not node:
            self.nominations.remove(pod["metadata"]["uid"])
        before = (pod.get("status") or {}).get("nominatedNodeName") or ""
        return {"nominatedNodeName": node or None} if node != before else {}

    async def _patch(self, pod: Obj, status: Obj) -> None:
        try:
            await patch_status(self._client, pod, status)
        except (StatusError, ApiUnreachable, ConnectionError, TimeoutError) as error:
            # The next attempt writes it again.
            logger.warning("status of %s: %s", object_key(pod), error)

    def _record(self, pod: Obj, kind: str, reason: str, action: str, note: str) -> None:
        name = pod["spec"].get("schedulerName") or next(iter(self._recorders))
        self._recorders[name].event(pod, kind, reason, action, note)

    def _gate(self, pod: Obj) -> tuple[str, str] | None:
        name = pod["spec"].get("schedulerName") or next(iter(self.profiles))
        started = self._clock.monotonic()
        held = self.profiles[name].gate(pod)
        status = "Success" if held is None else "UnschedulableAndUnresolvable"
        self.metrics.ran("PreEnqueue", status, name, self._clock.monotonic() - started)
        if held is not None:
            self._publisher.note(pod)
        return held


def _by_label(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(label,): count for label, count in counts.items()}
