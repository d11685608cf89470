"""Evicts pods from nodes with NoExecute taints, when their tolerations end.

A pod that does not tolerate a taint goes at once; one that tolerates it for a while goes when the
shortest such time, counted from the taint's ``timeAdded``, is over; one that tolerates it for ever
stays. The clock is asked again on every change of the node or the pod.
"""

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.node_fit import tolerates
from kybern.api.resources import NODES, PODS
from kybern.client import Client
from kybern.controllers.controller import Context, Controller
from kybern.controllers.node_lifecycle import pod_node


class TaintEvictionController(Controller):
    """Keyed by pod."""

    name = "taint-eviction-controller"
    account = "node-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch(PODS)
        self.pods.add_index("node", pod_node)
        self.nodes = self.watch(NODES, self._pods_of_node)
        self.recorder = context.recorder(self.client, "taint-eviction-controller")

    def _pods_of_node(self, node: Obj) -> list[str]:
        if not node["spec"].get("taints"):
            return []
        return [objects.key(pod) for pod in self.pods.by_index("node", objects.name(node))]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or objects.is_deleting(pod) or objects.is_pod_terminal(pod):
            return None
        node = self.nodes.get(pod["spec"].get("nodeName", ""))
        taints = [
            taint
            for taint in (node or {"spec": {}})["spec"].get("taints") or ()
            if taint["effect"] == "NoExecute"
        ]
        if not taints:
            return None
        wait = self._patience(pod, taints)
        if wait is None or wait > 0:
            return wait
        await self._evict(pod)
        return None

    def _patience(self, pod: Obj, taints: list[Obj]) -> float | None:
        """Seconds until the pod must go; None if it may stay for ever."""
        now = self.clock.time()
        ends: list[float] = []
        for taint in taints:
            tolerations = [t for t in pod["spec"].get("tolerations") or () if tolerates(t, taint)]
            if not tolerations:
                return 0
            limits = [t["tolerationSeconds"] for t in tolerations if "tolerationSeconds" in t]
            if limits:
                since = objects.epoch(taint["timeAdded"]) if taint.get("timeAdded") else now
                ends.append(since + max(min(limits), 0))
        return max(min(ends) - now, 0) if ends else None

    async def _evict(self, pod: Obj) -> None:
        self.recorder.event(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {objects.key(pod)}"
        )
        await delete_disrupted(
            self.client,
            pod,
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
            self.clock.timestamp(),
        )


async def delete_disrupted(
    client: Client, pod: Obj, reason: str, message: str, timestamp: str
) -> None:
    """Mark the pod with DisruptionTarget and delete it; one that is gone already is fine."""
    marked = objects.copy(pod)
    objects.set_condition(marked, "DisruptionTarget", "True", reason, message, timestamp)
    name, namespace = objects.name(pod), objects.namespace(pod)
    try:
        await client.update_status(PODS, marked)
        await client.delete(PODS, name, namespace, uid=objects.uid(pod))
    except StatusError as error:
        if error.code != 404:
            raise
