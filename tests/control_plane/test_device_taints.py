"""Devices that their driver taints with NoExecute lose their pods."""

import asyncio
from typing import Any

import pytest
from manifests import pod
from test_resource_claims import is_bound, slice_on

from kybern.api import objects
from kybern.api.resources import DEVICE_CLASSES, EVENTS, PODS, RESOURCE_CLAIMS, RESOURCE_SLICES
from kybern.client import Client
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=2)]

Obj = dict[str, Any]
BROKEN = {"key": "example.com/broken", "effect": "NoExecute"}


async def use_a_device(cluster: Cluster, *tolerations: Obj) -> None:
    """A pod with a device on the second node."""
    client = cluster.client
    await client.create(DEVICE_CLASSES, {"metadata": {"name": "gpu"}, "spec": {}})
    await client.create(RESOURCE_SLICES, slice_on("simulated-1", "small"))
    exactly = {"deviceClassName": "gpu", "tolerations": list(tolerations)}
    request = {"name": "gpu", "exactly": exactly}
    claim: Obj = {"metadata": {"name": "mine"}, "spec": {"devices": {"requests": [request]}}}
    await client.create(RESOURCE_CLAIMS, claim, "default")
    claims = [{"name": "gpu", "resourceClaimName": "mine"}]
    await client.create(PODS, pod("worker", resourceClaims=claims))
    await cluster.wait_for(PODS, "worker", is_bound)


async def taint(client: Client, *taints: Obj) -> None:
    held = await client.get(RESOURCE_SLICES, "simulated-1-gpus")
    held["spec"]["devices"][0]["taints"] = list(taints)
    await client.update(RESOURCE_SLICES, held)


async def told(client: Client) -> list[str]:
    events = (await client.list(EVENTS, "default"))["items"]
    return [each["message"] for each in events if each["reason"] == "DeviceTaintManagerEviction"]


async def test_a_pod_goes_when_its_device_is_tainted(kybern_cluster: Cluster) -> None:
    await use_a_device(kybern_cluster)
    client = kybern_cluster.client
    keep = {"metadata": {"finalizers": ["example.com/look"]}}
    await client.patch(PODS, "worker", keep, "default", kind="merge")
    await taint(client, BROKEN)
    gone = await kybern_cluster.wait_for(PODS, "worker", objects.is_deleting)
    condition = objects.condition(gone, "DisruptionTarget")
    assert condition is not None and condition["reason"] == "DeletionByDeviceTaintManager"
    assert await told(client) == ["Marking for deletion"]


async def test_other_effects_and_other_devices_leave_it_alone(kybern_cluster: Cluster) -> None:
    await use_a_device(kybern_cluster)
    client = kybern_cluster.client
    await taint(client, {**BROKEN, "effect": "NoSchedule"})
    held = slice_on("simulated-0", "small")
    held["spec"]["devices"][0]["taints"] = [BROKEN]
    await client.create(RESOURCE_SLICES, held)
    await asyncio.sleep(60)
    assert not objects.is_deleting(await client.get(PODS, "worker", "default"))


async def test_a_toleration_ends(kybern_cluster: Cluster) -> None:
    patience = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 100}
    await use_a_device(kybern_cluster, patience)
    client = kybern_cluster.client
    await taint(client, BROKEN)
    await asyncio.sleep(90)
    assert not objects.is_deleting(await client.get(PODS, "worker", "default"))
    await asyncio.sleep(20)
    await kybern_cluster.wait_gone(PODS, "worker")


async def test_a_device_that_is_well_again_keeps_its_pod(kybern_cluster: Cluster) -> None:
    patience = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 100}
    await use_a_device(kybern_cluster, patience)
    client = kybern_cluster.client
    await taint(client, BROKEN)
    await asyncio.sleep(50)
    await taint(client)
    await asyncio.sleep(100)
    assert not objects.is_deleting(await client.get(PODS, "worker", "default"))
    assert await told(client) == ["Cancelling deletion"]


async def test_who_tolerates_it_for_ever_stays(kybern_cluster: Cluster) -> None:
    await use_a_device(kybern_cluster, {"operator": "Exists", "effect": "NoExecute"})
    await taint(kybern_cluster.client, BROKEN)
    await asyncio.sleep(600)
    pod = await kybern_cluster.client.get(PODS, "worker", "default")
    assert not objects.is_deleting(pod)
