"""Volumes are attached to the nodes of their pods, and detached when the node lets go."""

import asyncio

import pytest
from manifests import pod
from storage_objects import claim, csi_volume, phase

from kybern.api import volumes
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import (
    CSI_DRIVERS,
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
)
from kybern.controllers.volumes.attach_detach import FORCE_DETACH_SECONDS
from kybern.testing import Cluster

pytestmark = [pytest.mark.virtual_time, pytest.mark.kybern(nodes=0)]

DRIVER = "disks.example.com"


async def start(cluster: Cluster, *nodes: str) -> None:
    """Nodes, and a volume that is bound to the claim ``data``."""
    client = cluster.client
    for name in nodes:
        marks = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
        await client.create(NODES, {"metadata": {"name": name, "annotations": marks}})
        await say_ready(cluster, name, "True")
    await client.create(PERSISTENT_VOLUMES, csi_volume("disk"))
    asking = claim("data", storageClassName="", volumeName="disk")
    await client.create(PERSISTENT_VOLUME_CLAIMS, asking, "default")
    await cluster.wait_for(PERSISTENT_VOLUME_CLAIMS, "data", phase("Bound"))


async def say_ready(cluster: Cluster, node: str, status: str) -> None:
    ready = {"type": "Ready", "status": status, "lastHeartbeatTime": cluster.clock.timestamp()}
    patch = {"status": {"conditions": [ready]}}
    await cluster.client.patch(NODES, node, patch, subresource="status")


async def run_on(cluster: Cluster, node: str, name: str) -> None:
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    placed = pod(name, volumes=[source], nodeName=node)
    await cluster.client.create(PODS, placed, "default")


def attachment_on(node: str) -> str:
    return volumes.attachment_name({"driver": DRIVER, "volumeHandle": "handle-disk"}, node)


async def attach(cluster: Cluster, node: str) -> Obj:
    """What a driver's attacher does, and the Node as it then is."""
    name = attachment_on(node)
    await cluster.wait_for(VOLUME_ATTACHMENTS, name)
    done = {"status": {"attached": True}}
    await cluster.client.patch(VOLUME_ATTACHMENTS, name, done, subresource="status")
    return await cluster.wait_for(NODES, node, lambda obj: obj["status"].get("volumesAttached"))


async def use(cluster: Cluster, node: str, *names: str) -> None:
    """What the kubelet says that it has mounted."""
    patch = {"status": {"volumesInUse": list(names)}}
    await cluster.client.patch(NODES, node, patch, subresource="status")


async def exists(cluster: Cluster, node: str) -> bool:
    try:
        await cluster.client.get(VOLUME_ATTACHMENTS, attachment_on(node))
    except StatusError as error:
        assert error.code == 404
        return False
    return True


async def test_a_volume_is_attached_for_a_pod_and_published_in_its_node(
    kybern_cluster: Cluster,
) -> None:
    await start(kybern_cluster, "here")
    await run_on(kybern_cluster, "here", "web")
    node = await attach(kybern_cluster, "here")
    unique = f"kubernetes.io/csi/{DRIVER}^handle-disk"
    assert node["status"]["volumesAttached"] == [{"name": unique, "devicePath": ""}]
    attachment = await kybern_cluster.client.get(VOLUME_ATTACHMENTS, attachment_on("here"))
    assert attachment["spec"] == {
        "attacher": DRIVER,
        "nodeName": "here",
        "source": {"persistentVolumeName": "disk"},
    }


async def test_a_volume_stays_attached_while_the_node_uses_it(kybern_cluster: Cluster) -> None:
    await start(kybern_cluster, "here")
    await run_on(kybern_cluster, "here", "web")
    node = await attach(kybern_cluster, "here")
    unique = node["status"]["volumesAttached"][0]["name"]
    await use(kybern_cluster, "here", unique)
    await kybern_cluster.client.delete(PODS, "web", "default", grace_period_seconds=0)
    await asyncio.sleep(30)
    assert await exists(kybern_cluster, "here")
    await use(kybern_cluster, "here")
    await kybern_cluster.wait_gone(VOLUME_ATTACHMENTS, attachment_on("here"))
    node = await kybern_cluster.client.get(NODES, "here")
    assert not node["status"].get("volumesAttached")


async def test_a_second_node_waits_for_a_volume_of_one_writer(kybern_cluster: Cluster) -> None:
    await start(kybern_cluster, "here", "there")
    await run_on(kybern_cluster, "here", "web")
    await attach(kybern_cluster, "here")
    await run_on(kybern_cluster, "there", "late")

    async def refused() -> bool:
        events, _ = await kybern_cluster.client.list_all(
            EVENTS, field_selector="involvedObject.name=late,reason=FailedAttachVolume"
        )
        return [event["message"] for event in events] == [
            'Multi-Attach error for volume "disk" Volume is already used by pod(s) web'
        ]

    await kybern_cluster.wait_until(refused)
    assert not await exists(kybern_cluster, "there")
    await kybern_cluster.client.delete(PODS, "web", "default", grace_period_seconds=0)
    await attach(kybern_cluster, "there")
    assert not await exists(kybern_cluster, "here")


async def test_a_volume_is_torn_from_a_node_that_has_been_unhealthy_for_long(
    kybern_cluster: Cluster,
) -> None:
    await start(kybern_cluster, "here")
    await run_on(kybern_cluster, "here", "web")
    node = await attach(kybern_cluster, "here")
    await use(kybern_cluster, "here", node["status"]["volumesAttached"][0]["name"])
    await say_ready(kybern_cluster, "here", "False")
    await kybern_cluster.client.delete(PODS, "web", "default", grace_period_seconds=0)
    await asyncio.sleep(FORCE_DETACH_SECONDS - 30)
    assert await exists(kybern_cluster, "here")
    await kybern_cluster.wait_gone(VOLUME_ATTACHMENTS, attachment_on("here"))


async def test_a_node_out_of_service_is_not_asked(kybern_cluster: Cluster) -> None:
    await start(kybern_cluster, "here")
    await run_on(kybern_cluster, "here", "web")
    node = await attach(kybern_cluster, "here")
    await use(kybern_cluster, "here", node["status"]["volumesAttached"][0]["name"])
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "x", "effect": "NoExecute"}
    await kybern_cluster.client.patch(NODES, "here", {"spec": {"taints": [taint]}})
    await kybern_cluster.wait_gone(VOLUME_ATTACHMENTS, attachment_on("here"), patience=500)


async def test_a_driver_may_do_without_attaching(kybern_cluster: Cluster) -> None:
    driver = {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False}}
    await kybern_cluster.client.create(CSI_DRIVERS, driver)
    await start(kybern_cluster, "here")
    await run_on(kybern_cluster, "here", "web")
    await asyncio.sleep(10)
    assert not await exists(kybern_cluster, "here")


async def test_the_pod_is_told_why_its_volume_cannot_be_attached(kybern_cluster: Cluster) -> None:
    await start(kybern_cluster, "here")
    await run_on(kybern_cluster, "here", "web")
    name = attachment_on("here")
    await kybern_cluster.wait_for(VOLUME_ATTACHMENTS, name)
    failed = {"status": {"attached": False, "attachError": {"message": "no such disk"}}}
    await kybern_cluster.client.patch(VOLUME_ATTACHMENTS, name, failed, subresource="status")

    async def told() -> bool:
        events, _ = await kybern_cluster.client.list_all(
            EVENTS, field_selector="involvedObject.name=web,reason=FailedAttachVolume"
        )
        return [event["message"] for event in events] == [
            'AttachVolume.Attach failed for volume "disk" : no such disk'
        ]

    await kybern_cluster.wait_until(told)


async def test_attachments_of_others_are_left_alone(kybern_cluster: Cluster) -> None:
    await start(kybern_cluster, "here")
    source = {"persistentVolumeName": "elsewhere"}
    spec = {"attacher": "example.com", "nodeName": "here", "source": source}
    await kybern_cluster.client.create(
        VOLUME_ATTACHMENTS, {"metadata": {"name": "by-hand"}, "spec": spec}
    )
    await asyncio.sleep(30)
    await kybern_cluster.client.get(VOLUME_ATTACHMENTS, "by-hand")
