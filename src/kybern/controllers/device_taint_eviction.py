"""Evicts pods from devices that their drivers taint with NoExecute (KEP 5055).

A driver says in its resource slices that a device is no good any more. Pods that hold the device
through a claim go at once, or when what their claim tolerates is over, counted from the taint's
``timeAdded``. The clock is asked again on every change of the slices, the claim or the pod.
"""

from collections.abc import Iterator

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.node_fit import tolerates
from kybern.api.resource_claims import is_reserved, resource_claim_names, results
from kybern.api.resources import PODS, RESOURCE_CLAIMS, RESOURCE_SLICES
from kybern.controllers.controller import Context, Controller
from kybern.controllers.taint_eviction import delete_disrupted

NO_EXECUTE = "NoExecute"


class DeviceTaintEvictionController(Controller):
    """Keyed by pod."""

    name = "device-taint-eviction-controller"
    account = "device-taint-eviction-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.watch(PODS, _pod_keys)
        self.claims = self.watch(RESOURCE_CLAIMS, _consumers)
        self.claims.add_index("pool", _pools_of_claim)
        self.slices = self.watch(RESOURCE_SLICES, self._pods_of_pool)
        self.slices.add_index("pool", lambda held: [_pool_of_slice(held)])
        self.recorder = context.recorder(self.client, self.name)
        # Pods that would go later; bounded by the pods.
        self._waiting: set[str] = set()

    def _pods_of_pool(self, held: Obj) -> list[str]:
        claims = self.claims.by_index("pool", _pool_of_slice(held))
        return [key for claim in claims for key in _consumers(claim)]

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or objects.is_deleting(pod) or objects.is_pod_terminal(pod):
            self._waiting.discard(key)
            return None
        due = self._due(pod)
        if due is None:
            if key in self._waiting:
                self._waiting.discard(key)
                self._tell(pod, "Cancelling deletion")
            return None
        wait = due - self.clock.time()
        if wait > 0:
            self._waiting.add(key)
            return wait
        await self._evict(pod)
        self._waiting.discard(key)
        return None

    def _due(self, pod: Obj) -> float | None:
        """When the pod must go; None if it may stay."""
        if not pod["spec"].get("nodeName"):
            return None
        templated = {
            claim["name"]
            for claim in pod["spec"].get("resourceClaims") or ()
            if claim.get("resourceClaimName") is None
        }
        ends: list[float] = []
        for name, object_name in resource_claim_names(pod):
            claim = self.claims.get(f"{objects.namespace(pod)}/{object_name}")
            if claim is None or not is_reserved(claim, objects.uid(pod)):
                continue
            if name in templated and not objects.is_controlled_by(claim, pod):
                continue
            for result in results(claim):
                taints = self._taints(result)
                ends += [end for taint in taints if (end := _end(result, taint)) is not None]
        return min(ends, default=None)

    def _taints(self, result: Obj) -> Iterator[Obj]:
        """What the device of an allocation is tainted with, in its pool's newest generation."""
        slices = self.slices.by_index("pool", f"{result['driver']}/{result['pool']}")
        newest = max((_generation(held) for held in slices), default=0)
        for held in slices:
            if _generation(held) != newest:
                continue
            for device in held["spec"].get("devices") or ():
                if device["name"] == result["device"]:
                    yield from (t for t in device.get("taints") or () if t["effect"] == NO_EXECUTE)

    async def _evict(self, pod: Obj) -> None:
        self._tell(pod, "Marking for deletion")
        await delete_disrupted(
            self.client,
            pod,
            "DeletionByDeviceTaintManager",
            "Device Taint manager: deleting due to NoExecute taint",
            self.clock.timestamp(),
        )

    def _tell(self, pod: Obj, message: str) -> None:
        self.recorder.event(pod, "Normal", "DeviceTaintManagerEviction", message)


def _end(result: Obj, taint: Obj) -> float | None:
    """Until when the allocation tolerates the taint; None for ever. Taints have their time from
    the API server."""
    if not taint.get("timeAdded"):
        return None
    tolerations = [
        toleration
        for toleration in result.get("tolerations") or ()
        if toleration.get("effect") == NO_EXECUTE and tolerates(toleration, taint)
    ]
    if any("tolerationSeconds" not in toleration for toleration in tolerations):
        return None
    seconds = min((t["tolerationSeconds"] for t in tolerations), default=0)
    return objects.epoch(taint["timeAdded"]) + max(seconds, 0)


def _pod_keys(pod: Obj) -> list[str]:
    return [objects.key(pod)] if pod["spec"].get("resourceClaims") else []


def _consumers(claim: Obj) -> list[str]:
    """The pods that the claim is reserved for."""
    consumers = (claim.get("status") or {}).get("reservedFor") or ()
    return [
        f"{objects.namespace(claim)}/{each['name']}"
        for each in consumers
        if each["resource"] == "pods" and not each.get("apiGroup")
    ]


def _pools_of_claim(claim: Obj) -> list[str]:
    return sorted({f"{result['driver']}/{result['pool']}" for result in results(claim)})


def _pool_of_slice(held: Obj) -> str:
    return f"{held['spec']['driver']}/{held['spec']['pool']['name']}"


def _generation(held: Obj) -> int:
    return int(held["spec"]["pool"].get("generation", 0))
