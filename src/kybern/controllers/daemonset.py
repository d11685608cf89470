"""DaemonSets: one pod on every node that fits.

Where pods belong is in ``daemon_placement.py``, what a rolling update may do in
``daemon_update.py``. Every template is kept as a ControllerRevision, whose hash the pods carry.
Failed pods are replaced after a pause that doubles from a second to 15 minutes.
"""

import asyncio
from dataclasses import dataclass

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from kybern.api.selectors import LabelSelector
from kybern.controllers import daemon_placement, daemon_update, revisions
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.daemon_placement import Plan
from kybern.controllers.replicas import (
    PodControl,
    in_slow_start,
    is_same_status,
    latest_revision,
)

BURST = 250
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 900.0


@dataclass(slots=True)
class _Pause:
    """How long a node's failed pods stay, and since when."""

    since: float
    seconds: float


class DaemonSetController(Controller):
    """Keyed by DaemonSet."""

    name = "daemonset-controller"
    account = "daemon-set-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.daemon_sets = self.watch(DAEMON_SETS)
        self.pods = self.watch(PODS, owner_key("DaemonSet"))
        self.pods.on_change(self._wake_for_orphan)
        self.nodes = self.read(NODES)
        self.nodes.on_change(self._node_changed)
        self.recorder = context.recorder(self.client, self.name)
        self.control = PodControl(self.client, self.recorder, self.pods)
        held = self.watch(CONTROLLER_REVISIONS, owner_key("DaemonSet"))
        self.revisions = revisions.RevisionControl(self.client, held)
        self.pauses: dict[tuple[str, str], _Pause] = {}

    def _wake_for_orphan(self, old: Obj | None, new: Obj | None) -> None:
        if new is None or objects.controller_of(new) is not None:
            return
        for daemon_set in self.daemon_sets.list(objects.namespace(new)):
            if _selector(daemon_set).matches(objects.labels(new)):
                self.queue.add(objects.key(daemon_set))

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is not None and _traits(old) == _traits(new):
            return
        for daemon_set in self.daemon_sets.list():
            self.queue.add(objects.key(daemon_set))

    async def reconcile(self, key: str) -> float | None:
        held = self.daemon_sets.get(key)
        if held is None:
            self.pauses = {pair: one for pair, one in self.pauses.items() if pair[0] != key}
            return None
        if _selector(held).empty:
            text = "This daemon set is selecting all pods. A non-empty selector is required."
            self.recorder.event(held, "Warning", "SelectingAll", text)
            return None
        if objects.is_deleting(held):
            return None
        return await self._run(key, objects.copy(held))

    async def _run(self, key: str, daemon_set: Obj) -> float | None:
        current, old, collisions = await self._history(daemon_set)
        hashed = objects.labels(current)[revisions.HASH_LABEL]
        spec = daemon_placement.daemon_spec(daemon_set)
        plan, again = self._place(key, daemon_set, spec, hashed, await self._by_node(daemon_set))
        refusal = await self._carry_out(daemon_set, spec, hashed, plan)
        if refusal is None and _is_rolling(daemon_set):
            by_node = await self._by_node(daemon_set)
            update = self._update(daemon_set, spec, hashed, by_node)
            refusal = await self._carry_out(daemon_set, spec, hashed, update)
        if refusal is None:
            await self._trim(daemon_set, old)
        wait = await self._write_status(daemon_set, spec, hashed, collisions)
        if refusal is not None:
            raise refusal
        return min((one for one in (again, wait) if one is not None), default=None)

    async def _history(self, daemon_set: Obj) -> tuple[Obj, list[Obj], int]:
        """The revision of the present template, the others, and the collisions of hashes."""
        held = await self.revisions.claim(daemon_set)
        wanted = revisions.patch_of(daemon_set)
        same = [one for one in held if one["data"] == wanted]
        old = [one for one in held if one["data"] != wanted]
        number = revisions.next_number(old)
        if same:
            current = same[-1]
            if revisions.number(current) < number:
                current = await self.revisions.renumber(current, number)
            return current, old, objects.status(daemon_set).get("collisionCount", 0)
        current, collisions = await self.revisions.create(daemon_set, number, revisions.HASH_LABEL)
        return current, old, collisions

    async def _by_node(self, daemon_set: Obj) -> dict[str, list[Obj]]:
        selector = _selector(daemon_set)
        by_node: dict[str, list[Obj]] = {}
        for pod in await self.control.claim(
            daemon_set, lambda pod: selector.matches(objects.labels(pod))
        ):
            node = daemon_placement.target_node(pod)
            if node and not (objects.is_pod_terminal(pod) and objects.is_deleting(pod)):
                by_node.setdefault(node, []).append(pod)
        return by_node

    def _place(
        self, key: str, daemon_set: Obj, spec: Obj, hashed: str, by_node: dict[str, list[Obj]]
    ) -> tuple[Plan, float | None]:
        """Which nodes miss a pod and which pods are too many; when failed pods may go."""
        plan, again = Plan(), None
        for node in self.nodes.list():
            name = objects.name(node)
            pods = by_node.get(name, [])
            run, stay = daemon_placement.fit(daemon_set, spec, node)
            living = [pod for pod in pods if not objects.is_deleting(pod)]
            if run and not pods:
                plan.create.append(name)
            elif stay:
                wait = self._end(key, daemon_set, name, living, plan)
                again = min(filter(None, (again, wait)), default=None)
                running = [pod for pod in living if not objects.is_pod_terminal(pod)]
                now = self.clock.time()
                plan.delete += daemon_placement.surplus(daemon_set, running, hashed, now)
                if run and not running and daemon_placement.allows_surge(daemon_set):
                    plan.create.append(name)
            else:
                plan.delete += living
        for name, pods in by_node.items():
            if self.nodes.get(name) is None:
                # Never bound, and the node that they wait for is gone.
                plan.delete += [pod for pod in pods if not pod["spec"].get("nodeName")]
        return plan, again

    def _end(
        self, key: str, daemon_set: Obj, node: str, pods: list[Obj], plan: Plan
    ) -> float | None:
        """Delete pods that have ended, failed ones after a pause; returns the rest of it."""
        wait: float | None = None
        for pod in pods:
            name, phase = objects.key(pod), objects.pod_phase(pod)
            if phase == "Succeeded":
                text = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
                self.recorder.event(daemon_set, "Normal", "SucceededDaemonPod", text)
                plan.delete.append(pod)
            elif phase == "Failed":
                wait = self._pause(key, node)
                if wait is None:
                    text = f"Found failed daemon pod {name} on node {node}, will try to kill it"
                    self.recorder.event(daemon_set, "Warning", "FailedDaemonPod", text)
                    plan.delete.append(pod)
        return wait

    def _pause(self, key: str, node: str) -> float | None:
        """Seconds that a failed pod must stay; None, and the next pause doubles, if it may go."""
        now = self.clock.time()
        held = self.pauses.get((key, node))
        if held is not None and held.since + held.seconds > now:
            return held.since + held.seconds - now
        forgotten = held is None or now - held.since > 2 * MAX_PAUSE_SECONDS
        seconds = FIRST_PAUSE_SECONDS if held is None or forgotten else held.seconds * 2
        self.pauses[key, node] = _Pause(now, min(seconds, MAX_PAUSE_SECONDS))
        return None

    def _update(
        self, daemon_set: Obj, spec: Obj, hashed: str, by_node: dict[str, list[Obj]]
    ) -> Plan:
        wanted = {
            objects.name(node)
            for node in self.nodes.list()
            if daemon_placement.fit(daemon_set, spec, node)[0]
        }
        # A node whose pod is not there yet is unavailable, too.
        looked_at = {name: by_node.get(name, []) for name in sorted({*wanted, *by_node})}
        return daemon_update.plan(
            daemon_set, looked_at, len(wanted), hashed, self.clock.time(), wanted.__contains__
        )

    async def _carry_out(
        self, daemon_set: Obj, spec: Obj, hashed: str, plan: Plan
    ) -> Exception | None:
        created: list[Obj] = []
        nodes = iter(plan.create)

        async def create() -> None:
            pod = daemon_placement.pod_for(daemon_set, spec, next(nodes), hashed)
            created.append(await self.control.create(daemon_set, pod))

        failures = await in_slow_start(min(len(plan.create), BURST), create)
        await self.pods.reached(latest_revision(created))
        doomed = plan.delete[:BURST]
        await asyncio.gather(*(self.control.delete(daemon_set, pod) for pod in doomed))
        return failures[0] if failures else None

    async def _trim(self, daemon_set: Obj, old: list[Obj]) -> None:
        """Old revisions go, but not those that a pod still runs."""
        live = {
            objects.labels(pod).get(revisions.HASH_LABEL) for pod in self.control.owned(daemon_set)
        }
        limit = daemon_set["spec"].get("revisionHistoryLimit", 10)
        spare = [one for one in old if objects.labels(one).get(revisions.HASH_LABEL) not in live]
        await self.revisions.trim(spare, max(limit - (len(old) - len(spare)), 0))

    async def _write_status(
        self, daemon_set: Obj, spec: Obj, hashed: str, collisions: int
    ) -> float | None:
        """Count from what the informers show; returns when the next pod becomes available."""
        now, delay = self.clock.time(), daemon_set["spec"].get("minReadySeconds", 0)
        by_node = await self._by_node(daemon_set)
        counts = dict.fromkeys(
            ("desired", "current", "misscheduled", "ready", "updated", "available"), 0
        )
        for node in self.nodes.list():
            pods = daemon_placement.by_seniority(by_node.get(objects.name(node), []))
            if not daemon_placement.fit(daemon_set, spec, node)[0]:
                counts["misscheduled"] += bool(pods)
                continue
            counts["desired"] += 1
            if pods:
                counts["current"] += 1
                counts["ready"] += objects.is_pod_ready(pods[0])
                counts["available"] += objects.is_pod_available(pods[0], delay, now)
                counts["updated"] += daemon_placement.is_updated(daemon_set, pods[0], hashed)
        status = _status(daemon_set, counts, collisions)
        if not is_same_status(status, objects.status(daemon_set)):
            try:
                await self.client.update_status(DAEMON_SETS, {**daemon_set, "status": status})
            except StatusError as error:
                if error.code != 404:
                    raise
        return delay if delay and counts["ready"] != counts["available"] else None


def _status(daemon_set: Obj, counts: dict[str, int], collisions: int) -> Obj:
    status = {
        **objects.status(daemon_set),
        "currentNumberScheduled": counts["current"],
        "desiredNumberScheduled": counts["desired"],
        "numberMisscheduled": counts["misscheduled"],
        "numberReady": counts["ready"],
        "numberAvailable": counts["available"],
        "numberUnavailable": counts["desired"] - counts["available"],
        "updatedNumberScheduled": counts["updated"],
        "observedGeneration": objects.generation(daemon_set),
    }
    return {**status, "collisionCount": collisions} if collisions else status


def _selector(daemon_set: Obj) -> LabelSelector:
    return LabelSelector.from_object(daemon_set["spec"]["selector"])


def _is_rolling(daemon_set: Obj) -> bool:
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    return strategy.get("type", "RollingUpdate") == "RollingUpdate"


def _traits(node: Obj) -> tuple[object, object]:
    """What decides about daemon pods on a node."""
    return objects.labels(node), node["spec"].get("taints")
