"""What a decision promises: volumes to claims, nodes to volumes, devices to resource claims.

``prebind.py`` sees a promise as kept from the moment of the decision and carries it out;
``simulate.py`` only sees it as kept. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kybern.api.volumes import BOUND_BY_CONTROLLER, SELECTED_NODE
from kybern.component.clock import Clock
from kybern.scheduler.plugin import Plugin
from kybern.scheduler.plugins.dynamic_resources import DynamicResources
from kybern.scheduler.plugins.volume_binding import VolumeBinding
from kybern.scheduler.plugins.volume_filter import VolumePlan
from kybern.scheduler.pod_storage import claim_names

if TYPE_CHECKING:
    from kybern.scheduler.devices.plan import DevicePlan

Obj = dict[str, Any]


def plans_for(
    plugins: Mapping[str, Plugin], pod: Obj, row: int
) -> tuple[VolumePlan, "DevicePlan | None"]:
    """What the pod's claims get on a feasible row, as the plugins of its profile see it."""
    plan, devices = VolumePlan(), None
    if isinstance(plugin := plugins.get("VolumeBinding"), VolumeBinding) and claim_names(pod):
        plan = plugin.plan(pod, row)
    if isinstance(plugin := plugins.get("DynamicResources"), DynamicResources):
        devices = plugin.plan(pod, row)
    return plan, devices


@dataclass(frozen=True, slots=True)
class Promise:
    """The objects as they will be: volumes with their claims, claims with their node."""

    volumes: tuple[Obj, ...] = ()
    claims: tuple[Obj, ...] = ()
    resource_claims: tuple[Obj, ...] = ()
    # Of the claim for extended resources, which is not made yet: containers by request.
    mappings: tuple[Obj, ...] = ()

    @property
    def objects(self) -> tuple[Obj, ...]:
        return (*self.volumes, *self.claims, *self.resource_claims)


def promise_of(plan: VolumePlan, devices: "DevicePlan | None", node: str, clock: Clock) -> Promise:
    """What plans make of volumes and claims on a node."""
    return Promise(
        tuple(_promised(volume, claim) for claim, volume in plan.bindings),
        tuple(_annotated(claim, SELECTED_NODE, node) for claim in plan.provisions),
        _allocated(devices, node, clock) if devices is not None else (),
        tuple(devices.mappings) if devices is not None else (),
    )


def _allocated(plan: "DevicePlan", node: str, clock: Clock) -> tuple[Obj, ...]:
    """The claims with their devices."""
    # Loaded with the first plan, like all that searches devices.
    from kybern.scheduler.devices.results import allocation

    return tuple(
        {
            **claim,
            "status": {
                **(claim.get("status") or {}),
                "allocation": allocation(claim, chosen, plan.classes, node, clock),
            },
        }
        for claim, chosen in plan.allocations
    )


def _promised(volume: Obj, claim: Obj) -> Obj:
    meta = claim["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "resourceVersion": meta.get("resourceVersion", ""),
    }
    marked = volume
    if "claimRef" not in volume["spec"]:
        marked = _annotated(volume, BOUND_BY_CONTROLLER, "yes")
    return {**marked, "spec": {**volume["spec"], "claimRef": reference}}


def _annotated(obj: Obj, key: str, value: str) -> Obj:
    meta = obj["metadata"]
    annotations = {**(meta.get("annotations") or {}), key: value}
    return {**obj, "metadata": {**meta, "annotations": annotations}}
