"""Node health: marks nodes that fell silent, taints them by their conditions.

A node shows life by its Lease or its status. One that is silent for the grace period gets its
conditions set to Unknown and the ``unreachable`` taint; one that reports NotReady gets
``not-ready``; pressure and network conditions become NoSchedule taints. Pods of a node that is not
ready lose their Ready condition. What leaves tainted nodes is the work of ``taint_eviction.py``.
While most of a cluster is silent nothing new is tainted NoExecute: then the fault is more likely
this side's network.
"""

from dataclasses import dataclass

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import LEASES, NODES, PODS
from kybern.controllers.controller import Context, Controller

LEASE_NAMESPACE = "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
CONDITION_TAINTS = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
OWN_NO_SCHEDULE = frozenset({*CONDITION_TAINTS.values(), UNSCHEDULABLE})
SILENT = "NodeStatusUnknown"
NEVER = "NodeStatusNeverUpdated"
DISRUPTED_SHARE = 0.55


@dataclass(slots=True)
class _Health:
    """The last sign of life seen, and when it was seen on this side's clock."""

    sign: tuple[str, str]
    seen_at: float


class NodeLifecycleController(Controller):
    """Keyed by node; every node is looked at once a monitor period."""

    name = "node-lifecycle-controller"
    account = "node-controller"
    workers = 8

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.health: dict[str, _Health] = {}
        self.nodes = self.watch(NODES)
        self.leases = self.context.informers.informer(LEASES, LEASE_NAMESPACE)
        self.pods = self.read(PODS)
        self.pods.add_index("node", pod_node)
        self.recorder = context.recorder(self.client, "node-controller")

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if node is None:
            self.health.pop(key, None)
            return None
        known = self.health.get(key)
        self._observe(key, node)
        if known is None:
            text = f"Node {key} event: Registered Node {key} in Controller"
            self.recorder.event(_as_event_subject(node), "Normal", "RegisteredNode", text)
        node = await self._mark_silent(key, node)
        await self._taint(node)
        ready = objects.condition(node, "Ready")
        if ready is not None and ready["status"] != "True":
            await self._mark_pods_not_ready(node)
        return self.context.config.node_monitor_period

    def _observe(self, key: str, node: Obj) -> None:
        lease = self.leases.get(f"{LEASE_NAMESPACE}/{key}") or {}
        renewed = (lease.get("spec") or {}).get("renewTime", "")
        ready = objects.condition(node, "Ready") or {}
        sign = (renewed, ready.get("lastHeartbeatTime", ""))
        known = self.health.get(key)
        if known is None or known.sign != sign:
            self.health[key] = _Health(sign, self.clock.time())

    async def _mark_silent(self, key: str, node: Obj) -> Obj:
        """Set the conditions of a silent node to Unknown."""
        silence = self.clock.time() - self.health[key].seen_at
        if silence <= self.context.config.node_monitor_grace_period:
            return node
        now = self.clock.timestamp()
        silent = objects.copy(node)
        changed = False
        for type_ in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
            current = objects.condition(silent, type_)
            if current is not None and current["status"] == "Unknown":
                continue
            reason = SILENT if current is not None else NEVER
            text = (
                "Kubelet stopped posting node status."
                if current is not None
                else "Kubelet never posted node status."
            )
            changed |= objects.set_condition(silent, type_, "Unknown", reason, text, now)
        if not changed:
            return node
        updated = await self.client.update_status(NODES, silent)
        text = f"Node {key} status is now: NodeNotReady"
        self.recorder.event(_as_event_subject(node), "Normal", "NodeNotReady", text)
        await self.nodes.reached(objects.resource_version(updated))
        self._observe(key, updated)
        self.health[key].seen_at = self.clock.time() - silence
        return updated

    async def _taint(self, node: Obj) -> None:
        """Bring the taints in line with the conditions; one patch, guarded by the revision."""
        held = node["spec"].get("taints") or []
        wanted = self._wanted_taints(node, held)
        if [_identity(taint) for taint in wanted] == [_identity(taint) for taint in held]:
            return
        patch = {
            "metadata": {"resourceVersion": objects.resource_version(node)},
            "spec": {"taints": wanted or None},
        }
        patched = await self.client.patch(NODES, objects.name(node), patch)
        await self.nodes.reached(objects.resource_version(patched))

    def _wanted_taints(self, node: Obj, held: list[Obj]) -> list[Obj]:
        keys: dict[tuple[str, str], None] = {}
        for (type_, value), key in CONDITION_TAINTS.items():
            if objects.condition_is(node, type_, value):
                keys[key, "NoSchedule"] = None
                if type_ == "Ready" and (
                    self._is_reliable() or (key, "NoExecute") in map(_identity, held)
                ):
                    keys[key, "NoExecute"] = None
        if node["spec"].get("unschedulable"):
            keys[UNSCHEDULABLE, "NoSchedule"] = None
        kept = [taint for taint in held if not _is_own(taint) or _identity(taint) in keys]
        present = [_identity(taint) for taint in kept]
        now = self.clock.timestamp()
        for key, effect in keys:
            if (key, effect) not in present:
                taint = {"key": key, "effect": effect}
                kept.append({**taint, "timeAdded": now} if effect == "NoExecute" else taint)
        return kept

    def _is_reliable(self) -> bool:
        """Not most of a cluster's nodes are silent (one node alone is believed)."""
        nodes = self.nodes.list()
        silent = sum(objects.condition_is(node, "Ready", "Unknown") for node in nodes)
        return len(nodes) <= 2 or silent / len(nodes) < DISRUPTED_SHARE

    async def _mark_pods_not_ready(self, node: Obj) -> None:
        for pod in self.pods.by_index("node", objects.name(node)):
            if not objects.is_pod_ready(pod):
                continue
            changed = objects.copy(pod)
            objects.set_condition(
                changed, "Ready", "False", "NodeNotReady", "", self.clock.timestamp()
            )
            try:
                await self.client.update_status(PODS, changed)
            except StatusError as error:
                if error.code not in (404, 409):
                    raise
                continue
            self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def pod_node(pod: Obj) -> tuple[str, ...]:
    name = pod["spec"].get("nodeName")
    return (name,) if name else ()


def _identity(taint: Obj) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def _is_own(taint: Obj) -> bool:
    if taint["effect"] == "NoExecute":
        return taint["key"] in (NOT_READY, UNREACHABLE)
    return taint["effect"] == "NoSchedule" and taint["key"] in OWN_NO_SCHEDULE


def _as_event_subject(node: Obj) -> Obj:
    """Events about nodes carry the name as uid: ``kubectl describe node`` looks them up by it."""
    name = objects.name(node)
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}
