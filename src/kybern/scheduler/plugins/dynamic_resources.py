"""DynamicResources: pods with resource claims go where the devices allocated to them are.

Devices are not allocated here: a pod waits until whoever allocates has done so for all its claims.
Before the pod is bound, ``prebind.py`` reserves the claims for it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Mask, Rows
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.node_selector import SelectorMask
from kybern.scheduler.plugin import Confinement, Filter, Plugin, Verdict
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import is_for, resource_claim_names

Obj = dict[str, Any]

NOT_ALLOCATED = "cannot allocate all claims"
ELSEWHERE = "resourceclaim not available on the node"
MAX_CONSUMERS = 256


class DynamicResources(Plugin):
    name = "DynamicResources"

    def gate(self, pod: Obj) -> str | None:
        """A pod does not enter the queue before its claims exist."""
        if not pod["spec"].get("resourceClaims"):
            return None
        claims = self.claims(pod)
        return claims if isinstance(claims, str) else None

    def claims(self, pod: Obj) -> list[Obj] | str:
        """The pod's claims, or why they cannot be used."""
        meta, found = pod["metadata"], []
        templated = {c["name"] for c in pod["spec"]["resourceClaims"] if not _is_named(c)}
        for name, object_name in resource_claim_names(pod):
            if object_name is None:
                return f'pod "{meta["namespace"]}/{meta["name"]}": ResourceClaim not created yet'
            if not object_name:
                continue
            claim = self.cluster.storage.resource_claims.get(f"{meta['namespace']}/{object_name}")
            if claim is None:
                return f'resourceclaim.resource.k8s.io "{object_name}" not found'
            if "deletionTimestamp" in claim["metadata"]:
                return f'resourceclaim "{object_name}" is being deleted'
            if name in templated and not is_for(claim, pod):
                owner = f"{meta['namespace']}/{meta['name']}"
                return f"ResourceClaim {owner} was not created for pod {owner}"
            found.append(claim)
        return found

    def confine(self, shape: PodShape) -> Confinement | None:
        if not shape.spec.get("resourceClaims"):
            return None
        claims = self.claims(shape.pod)
        if isinstance(claims, str):
            return Confinement(rejection=claims)
        uid = shape.pod["metadata"]["uid"]
        for claim in claims:
            consumers = (claim.get("status") or {}).get("reservedFor") or ()
            if len(consumers) >= MAX_CONSUMERS and not is_reserved(claim, uid):
                return Confinement(rejection="resourceclaim in use")
        return None

    def filter(self, shape: PodShape) -> Filter | None:
        if not shape.spec.get("resourceClaims"):
            return None
        claims = self.claims(shape.pod)
        return None if isinstance(claims, str) else ClaimsFilter(self.cluster.nodes, claims)

    def registrations(self) -> Sequence[Registration]:
        claims = ClusterEvent(EventResource.RESOURCE_CLAIM, Action.ADD | Action.UPDATE)
        pods = ClusterEvent(EventResource.UNSCHEDULED_POD, Action.UPDATE)
        return (Registration(claims, _claim_changed), Registration(pods, _is_same_pod))


class ClaimsFilter(Filter):
    def __init__(self, nodes: NodeTable, claims: Sequence[Obj]) -> None:
        self._nodes = nodes
        self._are_allocated = all(is_allocated(claim) for claim in claims)
        allocations = [claim["status"]["allocation"] for claim in claims if is_allocated(claim)]
        self._places = [
            SelectorMask(nodes, {}, selector["nodeSelectorTerms"])
            for allocation in allocations
            if (selector := allocation.get("nodeSelector"))
        ]

    def feasible(self, rows: Any) -> Mask:
        return self._are_here(rows) & self._are_allocated

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        here = self._are_here(rows)
        parts = ((rows[~here], ELSEWHERE), (rows[here], NOT_ALLOCATED))
        return [Verdict(plugin, (why,), True, part) for part, why in parts if len(part)]

    def _are_here(self, rows: Any) -> Mask:
        result: Mask = np.ones(self._nodes.count(rows), dtype=np.bool_)
        for place in self._places:
            result &= place.over(rows)
        return result


def is_allocated(claim: Obj) -> bool:
    return "allocation" in (claim.get("status") or {})


def is_reserved(claim: Obj, uid: str) -> bool:
    consumers = (claim.get("status") or {}).get("reservedFor") or ()
    return any(consumer["uid"] == uid for consumer in consumers)


def _is_named(claim: Obj) -> bool:
    return claim.get("resourceClaimName") is not None


def _claim_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if new is None:
        return Hint.SKIP
    names = [name for _, name in resource_claim_names(pod)]
    same = new["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return queue_if(same and (None in names or new["metadata"]["name"] in names))


def _is_same_pod(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """Claims made from templates are named in the pod's status."""
    return queue_if(new is not None and new["metadata"]["uid"] == pod["metadata"]["uid"])
