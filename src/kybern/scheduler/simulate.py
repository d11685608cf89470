"""What would the scheduler do? The real core on a snapshot, without a server.

``simulate`` is called by the cluster's ``whatif``: it takes lists of objects as an API server
returns them, places the given pods one after the other in queue order, and says where each would
go or why it would not. A pod that may preempt does: those that it pushes aside are placed anew, if
a controller would replace them. ``explain`` is for ``why``, where no scheduler answers. Nothing
outside is touched, and the objects are only read.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.component.clock import Clock
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import DEFAULT_SCHEDULER, Settings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.explain.explainer import Explainer, turned_down
from kybern.scheduler.explain.verdicts import Verdicts
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.plugins.priority_sort import PrioritySort
from kybern.scheduler.preemption_search import Candidate, PreemptionSearch
from kybern.scheduler.profile import Profile
from kybern.scheduler.promises import plans_for, promise_of
from kybern.scheduler.queue import SchedulingQueue

Obj = dict[str, Any]


@dataclass(slots=True)
class Snapshot:
    """The objects that decisions rest on."""

    nodes: Sequence[Obj]
    pods: Sequence[Obj] = ()
    namespaces: Sequence[Obj] = ()
    services: Sequence[Obj] = ()
    owners: Sequence[Obj] = ()
    claims: Sequence[Obj] = ()
    volumes: Sequence[Obj] = ()
    storage_classes: Sequence[Obj] = ()
    csi_nodes: Sequence[Obj] = ()
    csi_drivers: Sequence[Obj] = ()
    capacities: Sequence[Obj] = ()
    attachments: Sequence[Obj] = ()
    resource_claims: Sequence[Obj] = ()
    resource_slices: Sequence[Obj] = ()
    device_classes: Sequence[Obj] = ()
    budgets: Sequence[Obj] = ()


@dataclass(frozen=True, slots=True)
class Simulated:
    """One pod's fate: a node, with the pods evicted there for it, or a message.

    ``explanation`` says why there is no node, in the form of a PodExplanation's status.
    """

    pod: Obj
    node: str = ""
    message: str = ""
    evicted: tuple[Obj, ...] = ()
    explanation: Obj = field(default_factory=dict)


def simulate(
    snapshot: Snapshot, pods: Iterable[Obj], settings: Settings | None = None, seed: int = 0
) -> list[Simulated]:
    """Place ``pods`` by priority, then in the order given; each needs a uid of its own.

    Pods that were pushed aside follow as pods of their own, marked by the uid ``UID-again``.
    """
    return _Simulation(snapshot, settings or Settings(), seed).run(pods)


def explain(snapshot: Snapshot, pod: Obj, settings: Settings | None = None) -> Obj | None:
    """The status of a PodExplanation, as far as objects alone tell: nobody's memory is asked. None
    if no profile is for the pod."""
    clock, nominations, cluster = Clock(), Nominations(), _load(snapshot)
    deciders = {
        one.scheduler_name: Decider(cluster, Profile(one, cluster), nominations, clock.random)
        for one in (settings or Settings()).profiles
    }
    for other in snapshot.pods:
        node = (other.get("status") or {}).get("nominatedNodeName")
        if node and not other["spec"].get("nodeName"):
            nominations.add(other, node)
    queue = SchedulingQueue(clock.monotonic, {}, lambda pod: None)
    verdicts = Verdicts(clock)
    return Explainer(clock, cluster, deciders, queue, nominations, {}, verdicts).explain(pod)


class _Simulation:
    """The cluster of one run, and the pods that are still to be placed."""

    def __init__(self, snapshot: Snapshot, settings: Settings, seed: int) -> None:
        self._cluster = _load(snapshot)
        self._budgets = snapshot.budgets
        self._clock = Clock(seed)
        nominations, randomness = Nominations(), self._clock.random
        self._deciders: dict[str, Decider] = {}
        self._searches: dict[str, PreemptionSearch] = {}
        for wanted in settings.profiles:
            profile = Profile(wanted, self._cluster)
            decider = Decider(self._cluster, profile, nominations, randomness)
            self._deciders[wanted.scheduler_name] = decider
            plugin = profile.by_name.get(DefaultPreemption.name)
            if isinstance(plugin, DefaultPreemption):
                self._searches[wanted.scheduler_name] = PreemptionSearch(plugin, decider)
        self._queue: list[tuple[tuple[int, float], int, Obj]] = []
        self._queued = 0

    def run(self, pods: Iterable[Obj]) -> list[Simulated]:
        for pod in pods:
            self._add(pod)
        results: list[Simulated] = []
        while self._queue:
            results.append(self._place(heapq.heappop(self._queue)[2]))
        return results

    def _add(self, pod: Obj) -> None:
        self._queued += 1
        heapq.heappush(self._queue, (PrioritySort.sort_key(pod, 0.0), self._queued, pod))

    def _place(self, pod: Obj) -> Simulated:
        name = pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER
        decider = self._deciders.get(name)
        if decider is None:
            return Simulated(pod, message=f'no profile for scheduler name "{name}"')
        gated = decider.profile.gate(pod)
        if gated is not None:
            return Simulated(pod, message=gated[1])
        outcome = decider.decide(pod)
        if isinstance(outcome, Placement):
            self._take(pod, outcome, decider)
            self._cluster.place(pod, outcome.node)
            return Simulated(pod, node=outcome.node)
        candidate = self._search(name, pod, outcome)
        if candidate is None:
            explanation = turned_down(pod, outcome, decider)
            return Simulated(pod, message=outcome.message, explanation=explanation)
        return Simulated(pod, candidate.node, evicted=self._make_room(pod, candidate))

    def _take(self, pod: Obj, placement: Placement, decider: Decider) -> None:
        """The volumes and devices that the pod's claims get are nobody else's."""
        plan, devices = plans_for(decider.profile.by_name, pod, placement.row)
        for obj in promise_of(plan, devices, placement.node, self._clock).objects:
            self._cluster.storage.assume(obj)

    def _search(self, scheduler: str, pod: Obj, error: FitError) -> Candidate | None:
        search = self._searches.get(scheduler)
        if search is None or not error.node_count:
            return None
        outcome = search.find(pod, error, self._budgets, False)
        if outcome.message:
            error.post_filter = outcome.message
        return outcome.candidate

    def _make_room(self, pod: Obj, candidate: Candidate) -> tuple[Obj, ...]:
        evicted = tuple(victim.obj for victim in candidate.victims)
        for victim in evicted:
            self._cluster.remove(victim["metadata"]["uid"])
            if any(owner.get("controller") for owner in _owners(victim)):
                self._add(unplaced(victim))
        self._cluster.place(pod, candidate.node)
        return evicted


def unplaced(pod: Obj) -> Obj:
    """The pod that a controller makes in place of a pod that is evicted: priorities only get
    lower on the way, so a simulation ends."""
    meta = pod["metadata"]
    spec = {name: value for name, value in pod["spec"].items() if name != "nodeName"}
    return {**pod, "metadata": {**meta, "uid": f"{meta['uid']}-again"}, "spec": spec, "status": {}}


def _owners(pod: Obj) -> Sequence[Obj]:
    return pod["metadata"].get("ownerReferences") or ()


def _load(snapshot: Snapshot) -> ClusterColumns:
    cluster = ClusterColumns()
    for namespace in snapshot.namespaces:
        meta = namespace["metadata"]
        cluster.set_namespace(meta["name"], meta.get("labels") or {})
    for service in snapshot.services:
        cluster.workloads.service_changed(None, service)
    for owner in snapshot.owners:
        cluster.workloads.owner_changed(None, owner)
    storage = cluster.storage
    for objects, note in (
        (snapshot.claims, storage.claim_changed),
        (snapshot.volumes, storage.volume_changed),
        (snapshot.storage_classes, storage.class_changed),
        (snapshot.csi_nodes, storage.csi_node_changed),
        (snapshot.csi_drivers, storage.csi_driver_changed),
        (snapshot.capacities, storage.capacity_changed),
        (snapshot.attachments, storage.attachment_changed),
        (snapshot.resource_claims, storage.resource_claim_changed),
        (snapshot.resource_slices, storage.resource_slice_changed),
        (snapshot.device_classes, storage.device_class_changed),
    ):
        for one in objects:
            note(None, one)
    for node in snapshot.nodes:
        cluster.set_node(node)
    for pod in snapshot.pods:
        node = pod["spec"].get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            cluster.place(pod, node)
    return cluster
