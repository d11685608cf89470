"""Extended resources that a device class stands behind: pods get a claim without asking for one."""

from typing import Any

import pytest
from manifests import pod
from test_resource_claims import DRIVER, is_bound, slice_on

from kybern.api import objects
from kybern.api.resources import DEVICE_CLASSES, NODES, PODS, RESOURCE_CLAIMS, RESOURCE_SLICES
from kybern.client import Client
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=2)]

Obj = dict[str, Any]
GPU = "example.com/gpu"


async def have_gpus(client: Client, **spec: Any) -> None:
    in_class = {"cel": {"expression": f"device.driver == '{DRIVER}'"}}
    device_class = {"metadata": {"name": "gpu"}, "spec": {"selectors": [in_class], **spec}}
    await client.create(DEVICE_CLASSES, device_class)
    await client.create(RESOURCE_SLICES, slice_on("simulated-1", "small", "large"))


def wanting(name: str, *counts: str, resource: str = GPU) -> Obj:
    """A pod with a container for each count."""
    asked = [{"requests": {resource: count}, "limits": {resource: count}} for count in counts]
    containers = [
        {"name": f"c{index}", "image": "x", "resources": resources}
        for index, resources in enumerate(asked)
    ]
    return pod(name, containers=containers)


@pytest.mark.parametrize("resource", [GPU, "deviceclass.resource.kubernetes.io/gpu"])
async def test_a_pod_gets_a_claim_for_what_its_containers_ask(
    kybern_cluster: Cluster, resource: str
) -> None:
    client = kybern_cluster.client
    await have_gpus(client, extendedResourceName=GPU)
    await client.create(PODS, wanting("train", "1", "1", resource=resource))
    placed = await kybern_cluster.wait_for(PODS, "train", is_bound)
    assert placed["spec"]["nodeName"] == "simulated-1"
    status = placed["status"]["extendedResourceClaimStatus"]
    about = {"resourceName": resource}
    assert status["requestMappings"] == [
        {"containerName": "c0", **about, "requestName": "container-0-request-0"},
        {"containerName": "c1", **about, "requestName": "container-1-request-0"},
    ]
    claim = await client.get(RESOURCE_CLAIMS, status["resourceClaimName"], "default")
    assert objects.name(claim).startswith("train-extended-resources-")
    assert objects.annotations(claim) == {"resource.kubernetes.io/extended-resource-claim": "true"}
    assert objects.is_controlled_by(claim, placed)
    given = claim["status"]["allocation"]["devices"]["results"]
    assert [(each["request"], each["device"]) for each in given] == [
        ("container-0-request-0", "gpu-0"),
        ("container-1-request-0", "gpu-1"),
    ]
    assert [user["name"] for user in claim["status"]["reservedFor"]] == ["train"]


async def test_devices_are_given_once_and_go_back_with_their_pod(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await have_gpus(client, extendedResourceName=GPU)
    await client.create(PODS, wanting("first", "2"))
    await kybern_cluster.wait_for(PODS, "first", is_bound)
    await client.create(PODS, wanting("second", "1"))
    held = await kybern_cluster.wait_for(
        PODS, "second", lambda obj: objects.condition_is(obj, "PodScheduled", "False")
    )
    message = next(c["message"] for c in held["status"]["conditions"] if c.get("message"))
    assert message.startswith("0/2 nodes are available: 2 cannot allocate all claims.")
    await client.delete(PODS, "first", "default")
    placed = await kybern_cluster.wait_for(PODS, "second", is_bound)
    claims = (await client.list(RESOURCE_CLAIMS, "default"))["items"]
    name = placed["status"]["extendedResourceClaimStatus"]["resourceClaimName"]
    assert [objects.name(claim) for claim in claims] == [name]


async def test_a_node_that_offers_the_resource_itself_needs_no_claim(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await have_gpus(client, extendedResourceName=GPU)
    patch = {"status": {part: {GPU: "5"} for part in ("capacity", "allocatable")}}
    await client.patch(NODES, "simulated-0", patch, kind="merge", subresource="status")
    await client.create(PODS, wanting("many", "3"))
    placed = await kybern_cluster.wait_for(PODS, "many", is_bound)
    assert placed["spec"]["nodeName"] == "simulated-0"
    assert "extendedResourceClaimStatus" not in placed["status"]
    assert not (await client.list(RESOURCE_CLAIMS, "default"))["items"]


async def test_a_class_that_comes_later_helps_a_pod_that_waits(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(PODS, wanting("early", "1"))
    await kybern_cluster.wait_for(
        PODS, "early", lambda obj: objects.condition_is(obj, "PodScheduled", "False")
    )
    await have_gpus(client, extendedResourceName=GPU)
    await kybern_cluster.wait_for(PODS, "early", is_bound)


async def test_the_claim_of_an_attempt_that_failed_is_made_anew(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    gated = wanting("late", "1")
    gated["spec"]["schedulingGates"] = [{"name": "example.com/wait"}]
    made = await client.create(PODS, gated)
    await have_gpus(client, extendedResourceName=GPU)
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    left: Obj = {
        "metadata": {
            "name": "left",
            "annotations": {"resource.kubernetes.io/extended-resource-claim": "true"},
            "ownerReferences": [objects.controller_reference(made)],
        },
        "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}},
    }
    await client.create(RESOURCE_CLAIMS, left, "default")
    patch = {"spec": {"schedulingGates": None}}
    await client.patch(PODS, "late", patch, "default", kind="merge")
    placed = await kybern_cluster.wait_for(PODS, "late", is_bound)
    assert placed["status"]["extendedResourceClaimStatus"]["resourceClaimName"] != "left"
    claims = (await client.list(RESOURCE_CLAIMS, "default"))["items"]
    names = [objects.name(claim) for claim in claims]
    assert "left" not in names
