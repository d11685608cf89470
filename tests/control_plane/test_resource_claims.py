"""Devices from template to pod and back: claims are made, allocated, reserved and freed."""

from typing import Any

import pytest
from manifests import pod

from kybern.api import objects
from kybern.api.errors import StatusError
from kybern.api.resources import (
    DEVICE_CLASSES,
    PODS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
)
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=2)]

Obj = dict[str, Any]
DRIVER = "gpu.example.com"


def slice_on(node: str, *models: str) -> Obj:
    devices = [
        {"name": f"gpu-{n}", "attributes": {"model": {"string": model}}}
        for n, model in enumerate(models)
    ]
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return {
        "metadata": {"name": f"{node}-gpus"},
        "spec": {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices},
    }


def wanting(model: str) -> Obj:
    expression = f"device.attributes['{DRIVER}'].model == '{model}'"
    exactly = {"deviceClassName": "gpu", "selectors": [{"cel": {"expression": expression}}]}
    return {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}


async def have_devices(cluster: Cluster) -> None:
    client = cluster.client
    in_class = {"cel": {"expression": f"device.driver == '{DRIVER}'"}}
    device_class = {"metadata": {"name": "gpu"}, "spec": {"selectors": [in_class]}}
    await client.create(DEVICE_CLASSES, device_class)
    await client.create(RESOURCE_SLICES, slice_on("simulated-0", "small"))
    await client.create(RESOURCE_SLICES, slice_on("simulated-1", "small", "large"))
    template = {"metadata": {"name": "large"}, "spec": {"spec": wanting("large")}}
    await client.create(RESOURCE_CLAIM_TEMPLATES, template, "default")


def using_template(name: str) -> Obj:
    return pod(name, resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "large"}])


def is_bound(obj: Obj) -> bool:
    return bool(obj["spec"].get("nodeName"))


async def test_a_template_becomes_a_claim_with_a_device_and_is_freed_with_its_pod(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await have_devices(kybern_cluster)
    await client.create(PODS, using_template("first"))
    placed = await kybern_cluster.wait_for(PODS, "first", is_bound)
    assert placed["spec"]["nodeName"] == "simulated-1"
    name = placed["status"]["resourceClaimStatuses"][0]["resourceClaimName"]
    claim = await client.get(RESOURCE_CLAIMS, name, "default")
    assert claim["status"]["allocation"]["devices"]["results"] == [
        {"request": "gpu", "driver": DRIVER, "pool": "simulated-1", "device": "gpu-1"}
    ]
    assert [user["name"] for user in claim["status"]["reservedFor"]] == ["first"]
    assert objects.finalizers(claim) == ["resource.kubernetes.io/delete-protection"]

    await client.create(PODS, using_template("second"))
    held = await kybern_cluster.wait_for(
        PODS, "second", lambda obj: objects.condition_is(obj, "PodScheduled", "False")
    )
    message = (objects.condition(held, "PodScheduled") or {})["message"]
    assert message.startswith("0/2 nodes are available: 2 cannot allocate all claims.")

    await client.delete(PODS, "first", "default")
    await kybern_cluster.wait_for(PODS, "second", is_bound)
    await kybern_cluster.wait_gone(RESOURCE_CLAIMS, name)


async def test_a_shared_claim_keeps_its_pods_together_and_is_deallocated_after_the_last(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await have_devices(kybern_cluster)
    await client.create(
        RESOURCE_CLAIMS, {"metadata": {"name": "shared"}, "spec": wanting("large")}, "default"
    )
    for name in ("one", "two"):
        entry = {"name": "gpu", "resourceClaimName": "shared"}
        await client.create(PODS, pod(name, resourceClaims=[entry]))
    for name in ("one", "two"):
        placed = await kybern_cluster.wait_for(PODS, name, is_bound)
        assert placed["spec"]["nodeName"] == "simulated-1"
    for name in ("one", "two"):
        await client.delete(PODS, name, "default")
    free = await kybern_cluster.wait_for(
        RESOURCE_CLAIMS, "shared", lambda obj: "allocation" not in (obj.get("status") or {})
    )
    assert not (free.get("status") or {}).get("reservedFor")
    await kybern_cluster.wait_for(
        RESOURCE_CLAIMS, "shared", lambda obj: not objects.finalizers(obj)
    )


async def test_a_claim_for_a_class_that_is_not_there_says_so(kybern_cluster: Cluster) -> None:
    client = kybern_cluster.client
    await client.create(
        RESOURCE_CLAIMS, {"metadata": {"name": "lost"}, "spec": wanting("x")}, "default"
    )
    entry = {"name": "gpu", "resourceClaimName": "lost"}
    await client.create(PODS, pod("p", resourceClaims=[entry]))
    held = await kybern_cluster.wait_for(
        PODS, "p", lambda obj: objects.condition_is(obj, "PodScheduled", "False")
    )
    message = (objects.condition(held, "PodScheduled") or {})["message"]
    assert "request gpu: device class gpu does not exist" in message


async def test_a_selector_without_meaning_is_refused_when_it_is_written(
    kybern_cluster: Cluster,
) -> None:
    claim: Obj = {"metadata": {"name": "c"}, "spec": wanting("x")}
    exactly = claim["spec"]["devices"]["requests"][0]["exactly"]
    exactly["selectors"][0]["cel"]["expression"] = "device.nothing"
    with pytest.raises(StatusError, match="undefined field 'nothing'"):
        await kybern_cluster.client.create(RESOURCE_CLAIMS, claim, "default")


async def test_a_node_that_serves_the_better_alternative_is_preferred(
    kybern_cluster: Cluster,
) -> None:
    client = kybern_cluster.client
    await have_devices(kybern_cluster)
    offered = [
        {"name": model, **wanting(model)["devices"]["requests"][0]["exactly"]}
        for model in ("large", "small")
    ]
    claim: Obj = {"metadata": {"name": "either"}}
    claim["spec"] = {"devices": {"requests": [{"name": "gpu", "firstAvailable": offered}]}}
    await client.create(RESOURCE_CLAIMS, claim, "default")
    # The node with the large device is the fuller one.
    resources = {"requests": {"cpu": "100m"}}
    busy = pod("busy", nodeName="simulated-1")
    busy["spec"]["containers"] = [{"name": "c", "image": "x", "resources": resources}]
    await client.create(PODS, busy)
    claims = [{"name": "gpu", "resourceClaimName": "either"}]
    await client.create(PODS, pod("picky", resourceClaims=claims))
    placed = await kybern_cluster.wait_for(PODS, "picky", is_bound)
    assert placed["spec"]["nodeName"] == "simulated-1"
