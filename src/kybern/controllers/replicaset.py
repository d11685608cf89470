"""ReplicaSets and ReplicationControllers: as many pods as ``spec.replicas`` says.

Both kinds are one loop; a ReplicationController is a ReplicaSet whose selector is a plain map.
Missing pods are created in slow-start batches, surplus ones deleted in the order of
``replicas.deletion_order``, at most ``BURST`` a round. Status counts follow what the informer
shows.
"""

import asyncio

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, Resource
from kybern.api.selectors import LabelSelector
from kybern.controllers.controller import Context, Controller, owner_key
from kybern.controllers.replicas import (
    PodControl,
    deletion_order,
    in_slow_start,
    is_same_status,
    latest_revision,
    pod_from_template,
)

BURST = 500


class ReplicaSetController(Controller):
    """Keyed by ReplicaSet."""

    name = "replicaset-controller"
    account = "replicaset-controller"
    resource: Resource = REPLICA_SETS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = self.watch(self.resource)
        self.pods = self.watch(PODS, owner_key(self.resource.kind))
        self.pods.on_change(self._wake_for_orphan)
        self.recorder = context.recorder(self.client, self.name)
        self.control = PodControl(self.client, self.recorder, self.pods)

    def _wake_for_orphan(self, old: Obj | None, new: Obj | None) -> None:
        """A pod without a controller may match any set of its namespace."""
        if new is None or objects.controller_of(new) is not None:
            return
        for owner in self.sets.list(new["metadata"]["namespace"]):
            if self.selector(owner).matches(new["metadata"].get("labels") or {}):
                self.queue.add(objects.key(owner))

    def selector(self, owner: Obj) -> LabelSelector:
        return LabelSelector.from_object(owner["spec"]["selector"])

    async def reconcile(self, key: str) -> float | None:
        owner = self.sets.get(key)
        if owner is None:
            return None
        selector = self.selector(owner)
        claimed = await self.control.claim(
            owner, lambda pod: selector.matches(pod["metadata"].get("labels") or {})
        )
        active = [pod for pod in claimed if objects.is_pod_active(pod)]
        failure: Exception | None = None
        if not owner["metadata"].get("deletionTimestamp"):
            failure = await self._scale(owner, active)
        claimed = self.control.owned(owner)
        active = [pod for pod in claimed if objects.is_pod_active(pod)]
        again = await self._update_status(owner, active, claimed, failure)
        if failure is not None:
            raise failure
        return again

    async def _scale(self, owner: Obj, active: list[Obj]) -> Exception | None:
        """Create what misses or delete what is too much; returns the first refusal."""
        surplus = len(active) - owner["spec"].get("replicas", 1)
        if surplus < 0:
            return await self._create(owner, min(-surplus, BURST))
        if surplus > 0:
            await self._delete(owner, active, min(surplus, BURST))
        return None

    async def _create(self, owner: Obj, count: int) -> Exception | None:
        created: list[Obj] = []
        template = pod_from_template(owner, owner["spec"]["template"])

        async def create() -> None:
            created.append(await self.control.create(owner, template))

        failures = await in_slow_start(count, create)
        await self.pods.reached(latest_revision(created))
        return failures[0] if failures else None

    async def _delete(self, owner: Obj, active: list[Obj], count: int) -> None:
        crowd: dict[str, int] = {}
        for pod in self._siblings(owner):
            node = pod["spec"].get("nodeName", "")
            crowd[node] = crowd.get(node, 0) + 1
        ordered = deletion_order(
            active, lambda pod: crowd.get(pod["spec"].get("nodeName", ""), 0), self.clock.time()
        )
        await asyncio.gather(*(self.control.delete(owner, pod) for pod in ordered[:count]))

    def _siblings(self, owner: Obj) -> list[Obj]:
        """Active pods of all sets with the same controller (a Deployment's), else of this one."""
        parent = objects.controller_of(owner)
        family = [owner]
        if parent is not None:
            family = [
                other
                for other in self.sets.list(owner["metadata"]["namespace"])
                if (objects.controller_of(other) or {}).get("uid") == parent["uid"]
            ]
        return [
            pod for one in family for pod in self.control.owned(one) if objects.is_pod_active(pod)
        ]

    async def _update_status(
        self, owner: Obj, active: list[Obj], claimed: list[Obj], failure: Exception | None
    ) -> float | None:
        now = self.clock.time()
        delay = owner["spec"].get("minReadySeconds", 0)
        labels = (owner["spec"].get("template") or {}).get("metadata", {}).get("labels") or {}
        ready = [pod for pod in active if objects.is_pod_ready(pod)]
        ages = [now - objects.epoch(ready_since(pod)) for pod in ready]
        status: Obj = {
            **(owner.get("status") or {}),
            "replicas": len(active),
            "fullyLabeledReplicas": sum(_carries(pod, labels) for pod in active),
            "readyReplicas": len(ready),
            "availableReplicas": sum(age >= delay for age in ages),
            "observedGeneration": owner["metadata"].get("generation", 0),
        }
        if self.resource is REPLICA_SETS:
            status["terminatingReplicas"] = sum(
                bool(pod["metadata"].get("deletionTimestamp")) for pod in claimed
            )
        _set_failure(status, failure, self.clock.timestamp())
        if not is_same_status(status, owner.get("status") or {}):
            try:
                await self.client.update_status(self.resource, {**owner, "status": status})
            except StatusError as error:
                if error.code != 404:
                    raise
        return min((delay - age for age in ages if age < delay), default=None)


class ReplicationControllerController(ReplicaSetController):
    """Keyed by ReplicationController."""

    name = "replicationcontroller-controller"
    account = "replication-controller"
    resource = REPLICATION_CONTROLLERS

    def selector(self, owner: Obj) -> LabelSelector:
        return LabelSelector.from_labels(owner["spec"].get("selector"))


def ready_since(pod: Obj) -> str:
    """When the pod last became ready; its creation if the condition does not say."""
    condition = objects.condition(pod, "Ready") or {}
    return condition.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"]


def _carries(pod: Obj, labels: Obj) -> bool:
    held = pod["metadata"].get("labels") or {}
    return all(held.get(name) == value for name, value in labels.items())


def _set_failure(status: Obj, failure: Exception | None, now: str) -> None:
    """The ReplicaFailure condition appears with the first refusal and goes with the last."""
    others = [c for c in status.get("conditions") or () if c["type"] != "ReplicaFailure"]
    present = [c for c in status.get("conditions") or () if c["type"] == "ReplicaFailure"]
    if failure is not None:
        others += present or [
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": str(failure),
                "lastTransitionTime": now,
            }
        ]
    status.pop("conditions", None)
    if others:
        status["conditions"] = others
