"""Pod garbage collection: pods that nobody else will ever remove.

Deleted without grace are: the oldest terminated pods above the threshold, pods bound to nodes that
no longer exist, pods that were deleted before they were scheduled, and terminating pods on nodes
that are out of service. All are looked at every 20 seconds.
"""

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import NODES, PODS
from kybern.controllers.controller import Context, Controller

PERIOD_SECONDS = 20.0
QUARANTINE_SECONDS = 40.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
ROUND = "round"


class PodGarbageCollector(Controller):
    """One key, looked at again and again."""

    name = "pod-garbage-collector-controller"
    account = "pod-garbage-collector"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.read(PODS)
        self.nodes = self.read(NODES)
        self.missing_since: dict[str, float] = {}
        self.queue.add_after(ROUND, PERIOD_SECONDS)

    async def reconcile(self, key: str) -> float:
        pods = self.pods.list()
        await self._collect_terminated(pods)
        await self._collect_orphans(pods)
        for pod in pods:
            stuck = not pod["spec"].get("nodeName") or self._is_out_of_service(pod)
            if objects.is_deleting(pod) and stuck:
                await self._remove(pod)
        return PERIOD_SECONDS

    async def _collect_terminated(self, pods: list[Obj]) -> None:
        threshold = self.context.config.terminated_pod_gc_threshold
        if threshold <= 0:
            return
        ended = [p for p in pods if objects.is_pod_terminal(p) and not objects.is_deleting(p)]
        ended.sort(key=lambda pod: (objects.status(pod).get("phase") != "Failed", _created(pod)))
        for pod in ended[: max(len(ended) - threshold, 0)]:
            await self._remove(pod)

    async def _collect_orphans(self, pods: list[Obj]) -> None:
        """A node must be missing for a while, and on the server itself, before its pods go."""
        now = self.clock.time()
        bound = {pod["spec"]["nodeName"]: None for pod in pods if pod["spec"].get("nodeName")}
        missing = [name for name in bound if self.nodes.get(name) is None]
        self.missing_since = {name: self.missing_since.get(name, now) for name in missing}
        for name, since in list(self.missing_since.items()):
            if now - since < QUARANTINE_SECONDS or await self._exists(name):
                continue
            for pod in pods:
                if pod["spec"].get("nodeName") == name:
                    await self._fail_and_remove(pod)

    async def _exists(self, node: str) -> bool:
        try:
            await self.client.get(NODES, node)
        except StatusError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def _fail_and_remove(self, pod: Obj) -> None:
        """A pod whose node is gone has failed; say so before it goes, for its controller."""
        if not objects.is_pod_terminal(pod):
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists",
                "lastTransitionTime": self.clock.timestamp(),
            }
            patch = {
                "metadata": {"uid": objects.uid(pod)},
                "status": {"phase": "Failed", "conditions": [condition]},
            }
            name, namespace = objects.name(pod), objects.namespace(pod)
            await self.client.patch(
                PODS, name, patch, namespace, kind="strategic", subresource="status"
            )
        await self._remove(pod)

    async def _remove(self, pod: Obj) -> None:
        try:
            await self.client.delete(
                PODS,
                objects.name(pod),
                objects.namespace(pod),
                grace_period_seconds=0,
                uid=objects.uid(pod),
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    def _is_out_of_service(self, pod: Obj) -> bool:
        node = self.nodes.get(pod["spec"]["nodeName"])
        if node is None or objects.condition_is(node, "Ready"):
            return False
        return any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ())


def _created(pod: Obj) -> str:
    return pod["metadata"]["creationTimestamp"]
