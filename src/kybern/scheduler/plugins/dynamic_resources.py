"""DynamicResources: pods with resource claims go where devices are allocated to them, or can be.

A claim that is allocated keeps its pods on the nodes that reach its devices. For the others the
filter searches devices node by node (``kybern.scheduler.devices``); ``plan`` says which ones the
chosen node gives, and ``prebind.py`` writes that down and reserves the claims for the pod.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kybern.api import objects
from kybern.api.resource_claims import (
    MAX_CONSUMERS,
    is_allocated,
    is_reserved,
    resource_claim_names,
)
from kybern.scheduler.devices.requests import AllocationError, alternatives, has_alternatives
from kybern.scheduler.events import (
    Action,
    ClusterEvent,
    EventResource,
    Hint,
    Registration,
    queue_if,
)
from kybern.scheduler.plugin import Basis, Confinement, Filter, Plugin, Score
from kybern.scheduler.pod_shape import PodShape
from kybern.scheduler.pod_storage import asks_for_any
from kybern.scheduler.requests import Requests, requests_of

if TYPE_CHECKING:
    from kybern.scheduler.columns.cluster import ClusterColumns
    from kybern.scheduler.devices.plan import DevicePlan
    from kybern.scheduler.devices.pools import Slices
    from kybern.scheduler.plugins.claims_filter import ClaimsFilter

Obj = dict[str, Any]


class DynamicResources(Plugin):
    name = "DynamicResources"

    def __init__(self, cluster: "ClusterColumns", args: Obj) -> None:
        super().__init__(cluster, args)
        self._slices: Slices | None = None
        self._slices_version = -1

    def gate(self, pod: Obj) -> str | None:
        """A pod does not enter the queue before its claims exist."""
        if not pod["spec"].get("resourceClaims"):
            return None
        claims = self.claims(pod)
        return claims if isinstance(claims, str) else None

    def claims(self, pod: Obj) -> list[Obj] | str:
        """The pod's claims, or why they cannot be used."""
        meta, found = pod["metadata"], []
        declared = pod["spec"].get("resourceClaims") or ()
        templated = {c["name"] for c in declared if not _is_named(c)}
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
            if name in templated and not objects.is_controlled_by(claim, pod):
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
            if why := self._rejection(claim, uid):
                return Confinement(rejection=why)
        return None

    def filter(self, shape: PodShape) -> Filter | None:
        resources = self._as_devices(shape.requests)
        if not resources and not shape.spec.get("resourceClaims"):
            return None
        claims = self.claims(shape.pod)
        if isinstance(claims, str):
            return None
        if resources and self.left_claim(shape.pod) is not None:
            return LeftClaim()
        return self._judge(claims, shape.pod, resources)

    def score(self, shape: PodShape) -> Score | None:
        """Only where requests have alternatives is one node better than another."""
        if not shape.spec.get("resourceClaims"):
            return None
        claims = self.claims(shape.pod)
        if isinstance(claims, str) or not any(map(has_alternatives, claims)):
            return None
        return self._judge(claims).score()

    def plan(self, pod: Obj, row: int) -> "DevicePlan | None":
        """What the claims that wait for devices get on a feasible row; None for no claims."""
        if not self.concerns(pod):
            return None
        claims = self.claims(pod)
        if isinstance(claims, str):
            return None
        plan = self._judge(claims, pod, self._as_devices(requests_of(pod))).plan(row)
        return plan if claims or plan.allocations else None

    def concerns(self, pod: Obj) -> bool:
        """The pod wants devices, in whatever form."""
        if pod["spec"].get("resourceClaims"):
            return True
        backed = self.cluster.storage.backed
        return bool(backed) and asks_for_any(pod["spec"], backed)

    def left_claim(self, pod: Obj) -> Obj | None:
        """What an earlier attempt has left of the claim for the pod's extended resources."""
        if not self.cluster.storage.backed:
            return None
        from kybern.scheduler.devices.extended_resources import left_claim

        return left_claim(pod, self.cluster.storage.resource_claims.values())

    def version(self) -> int:
        """Which extended resources come as devices decides about pods that ask for them."""
        return self.cluster.storage.backed_version

    def stuck(self, pod: Obj) -> Obj | None:
        """A claim of a pod that fits nowhere whose devices may go back: they are not reachable
        from every node, and nobody else uses them."""
        claims = self.claims(pod)
        if isinstance(claims, str):
            return None
        for claim in claims:
            if not is_allocated(claim) or self.cluster.storage.is_assumed(claim):
                continue
            consumers = claim["status"].get("reservedFor") or ()
            others = [each for each in consumers if each["uid"] != pod["metadata"]["uid"]]
            if not others and self._judge([claim]).keeps_off():
                return claim
        return None

    def registrations(self) -> Sequence[Registration]:
        changed = Action.ADD | Action.UPDATE
        claims = ClusterEvent(EventResource.RESOURCE_CLAIM, changed | Action.DELETE)
        pods = ClusterEvent(EventResource.UNSCHEDULED_POD, Action.UPDATE)
        return (
            Registration(claims, _claim_changed),
            Registration(pods, _is_same_pod),
            Registration(ClusterEvent(EventResource.NODE, Action.ADD | Action.UPDATE_NODE_LABEL)),
            Registration(ClusterEvent(EventResource.RESOURCE_SLICE, changed)),
            Registration(ClusterEvent(EventResource.DEVICE_CLASS, changed)),
        )

    def _as_devices(self, requests: Requests) -> tuple[str, ...]:
        """The extended resources that nodes may offer as devices of a class."""
        backed = self.cluster.storage.backed
        return tuple(name for name, amount in requests.scalars if amount and name in backed)

    def _judge(
        self, claims: Sequence[Obj], pod: Obj | None = None, resources: tuple[str, ...] = ()
    ) -> "ClaimsFilter":
        # Loaded with the first claim: few clusters have any, and each waits for its start.
        from kybern.scheduler.devices.extended_resources import ExtendedClaim
        from kybern.scheduler.devices.pools import Slices
        from kybern.scheduler.plugins.claims_filter import ClaimsFilter

        extended = None
        if pod is not None and resources:
            extended = ExtendedClaim(pod, resources, self.cluster.storage.backed)
        version = self.cluster.storage.slices_version
        if self._slices is None or version != self._slices_version:
            self._slices = Slices(self.cluster.storage.resource_slices.values())
            self._slices_version = version
        return ClaimsFilter(self.cluster, self._slices, claims, extended)

    def _rejection(self, claim: Obj, uid: str) -> str:
        """Why a claim will do on no node."""
        if self.cluster.storage.is_assumed(claim):
            name = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
            return f"resource claim {name} is in the process of being allocated"
        if is_allocated(claim):
            consumers = claim["status"].get("reservedFor") or ()
            full = len(consumers) >= MAX_CONSUMERS and not is_reserved(claim, uid)
            return "resourceclaim in use" if full else ""
        try:
            asked = alternatives(claim)
        except AllocationError as error:
            return str(error)
        for request in (way for ways in asked for way in ways):
            if request.class_name not in self.cluster.storage.device_classes:
                return (
                    f"request {request.full_name}: device class {request.class_name} does not exist"
                )
        return ""


class LeftClaim(Filter):
    """No node, before the claim of an earlier attempt is deleted."""

    basis = Basis.NODE
    reason = "cannot schedule extended resource claim"
    unresolvable = False

    def fits(self, row: int) -> bool:
        return False


def _is_named(claim: Obj) -> bool:
    return claim.get("resourceClaimName") is not None


def _claim_changed(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    if new is None:
        return queue_if(old is not None and is_allocated(old))
    # Devices that another claim gives back may be those that the pod waits for.
    if old is not None and is_allocated(old) and not is_allocated(new):
        return Hint.QUEUE
    names = [name for _, name in resource_claim_names(pod)]
    same = new["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return queue_if(same and (None in names or new["metadata"]["name"] in names))


def _is_same_pod(pod: Obj, old: Obj | None, new: Obj | None) -> Hint:
    """Claims made from templates are named in the pod's status."""
    return queue_if(new is not None and new["metadata"]["uid"] == pod["metadata"]["uid"])
