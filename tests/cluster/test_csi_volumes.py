"""A CSI driver over gRPC: registered, attached, staged, published, grown, and all of it undone."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from containerd_lab import needs_containerd, until
from csi_driver import NAME, ZONE, Controller, Driver
from storage_lab import NODE, StorageLab, claimed, open_storage_lab, pod

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    EVENTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Site:
    lab: StorageLab
    driver: Driver

    async def settled(self) -> None:
        """Wait until the node holds nothing of any volume, and the cluster has detached all."""
        await until(lambda: not self.lab.mounts() and not self.lab.loops(), "all is unmounted")

        async def detached() -> bool:
            node = await self.lab.client.get(NODES, NODE)
            attachments, _ = await self.lab.client.list_all(VOLUME_ATTACHMENTS)
            status = node["status"]
            held = status.get("volumesInUse") or status.get("volumesAttached")
            return not attachments and not held

        await until(detached, "all is detached")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site() -> AsyncIterator[Site]:
    async with open_storage_lab() as lab:
        driver = Driver(lab.directory / "driver", lab.root / "plugins_registry")
        await driver.start()
        made: Obj = {"metadata": {"name": NAME}, "spec": {"podInfoOnMount": True}}
        made["spec"]["volumeLifecycleModes"] = ["Persistent", "Ephemeral"]
        made["spec"]["tokenRequests"] = [{"audience": "disks", "expirationSeconds": 3600}]
        await lab.client.create(CSI_DRIVERS, made)
        fast = {"metadata": {"name": "disks"}, "provisioner": NAME, "allowVolumeExpansion": True}
        await lab.client.create(STORAGE_CLASSES, fast)
        controller = asyncio.create_task(Controller(lab.client, driver).run())
        await lab.cluster.wait_for(CSI_NODES, NODE, lambda found: found["spec"]["drivers"])
        try:
            yield Site(lab, driver)
        finally:
            await lab.remove_everything()
            await Site(lab, driver).settled()
            assert not list(driver.backing.glob("disk-*"))
            controller.cancel()
            await asyncio.gather(controller, return_exceptions=True)
            await driver.stop()


async def test_a_driver_that_registers_is_published(site: Site) -> None:
    found = await site.lab.client.get(CSI_NODES, NODE)
    assert found["spec"]["drivers"] == [
        {
            "name": NAME,
            "nodeID": "disk-node-1",
            "topologyKeys": [ZONE],
            "allocatable": {"count": 7},
        }
    ]
    node = await site.lab.client.get(NODES, NODE)
    assert node["metadata"]["labels"][ZONE] == "here"
    told = node["metadata"]["annotations"]["csi.volume.kubernetes.io/nodeid"]
    assert json.loads(told) == {NAME: "disk-node-1"}
    await until(lambda: site.driver.outcomes, "the driver is told")
    assert site.driver.outcomes[-1].plugin_registered


async def test_a_volume_goes_all_the_way_to_a_pod_and_back(site: Site) -> None:
    lab, driver = site.lab, site.driver
    driver.calls.clear()
    await lab.claim("data", storageClassName="disks")
    await lab.run("first", claimed("data"))
    assert await lab.exec("first", "echo kept > /data/file && cat /data/file") == "kept\n"
    node = await lab.client.get(NODES, NODE)
    assert [one["name"] for one in node["status"]["volumesAttached"]] == node["status"][
        "volumesInUse"
    ]
    staged = driver.asked("NodeStageVolume")[0]
    assert dict(staged.publish_context) == {"slot": "3"}
    assert dict(staged.volume_context) == {"tier": "gold"}
    assert staged.volume_capability.mount.fs_type == "ext4"
    published = driver.asked("NodePublishVolume")[0]
    context = dict(published.volume_context)
    tokens = json.loads(context.pop("csi.storage.k8s.io/serviceAccount.tokens"))
    assert set(tokens) == {"disks"} and tokens["disks"]["token"]
    assert context["csi.storage.k8s.io/pod.name"] == "first"
    assert context["csi.storage.k8s.io/ephemeral"] == "false"
    assert published.staging_target_path == staged.staging_target_path
    shown = await lab.summary_of("first")
    volume = next(one for one in shown["volume"] if one["name"] == "data")
    assert volume["pvcRef"] == {"name": "data", "namespace": "default"}
    assert (volume["capacityBytes"], volume["usedBytes"], volume["inodesFree"]) == (100, 40, 6)
    await lab.run("second", claimed("data"))
    assert await lab.exec("second", "cat /data/file") == "kept\n"
    await lab.remove("first")
    assert "NodeUnstageVolume" not in driver.volume_calls()
    await lab.remove("second")
    await site.settled()
    names = driver.volume_calls()
    assert names[:2] == ["NodeStageVolume", "NodePublishVolume"]
    assert names[-2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]


async def test_a_pods_own_volume_needs_neither_claim_nor_attachment(site: Site) -> None:
    lab, driver = site.lab, site.driver
    driver.calls.clear()
    inline = {"name": "own", "csi": {"driver": NAME, "volumeAttributes": {"size": "1"}}}
    await lab.run("inline", inline)
    assert await lab.exec("inline", "echo x > /own/file && cat /own/file") == "x\n"
    published = driver.asked("NodePublishVolume")[0]
    assert published.volume_id.startswith("csi-") and not published.staging_target_path
    assert published.volume_context["csi.storage.k8s.io/ephemeral"] == "true"
    await lab.remove("inline")
    await site.settled()
    assert driver.volume_calls() == ["NodePublishVolume", "NodeUnpublishVolume"]


async def test_a_block_volume_is_a_device(site: Site) -> None:
    lab = site.lab
    await lab.claim("disk", "4Mi", storageClassName="disks", volumeMode="Block")
    await lab.run("writer", claimed("disk", device=True))
    assert await lab.exec("writer", "blockdev --getsize64 /dev/disk") == f"{4 << 20}\n"
    await lab.remove("writer")
    await site.settled()


async def test_a_driver_grows_what_is_mounted(site: Site) -> None:
    lab, driver = site.lab, site.driver
    driver.calls.clear()
    claim = await lab.claim("growing", "1Gi", storageClassName="disks")
    await lab.run("user", claimed("growing"))
    bound = await lab.client.get(PERSISTENT_VOLUME_CLAIMS, "growing", "default")
    more = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    await lab.client.patch(PERSISTENT_VOLUME_CLAIMS, "growing", more, "default")
    # What the driver's resizer does when the disk itself has grown.
    grown = {"spec": {"capacity": {"storage": "2Gi"}}}
    name = bound["spec"]["volumeName"]
    await lab.client.patch(PERSISTENT_VOLUMES, name, grown)
    await lab.until_grown("user", "growing", "2Gi")
    asked = driver.asked("NodeExpandVolume")[0]
    assert asked.capacity_range.required_bytes == 2 << 30
    assert asked.volume_id == f"disk-{objects.uid(claim)}"
    await lab.remove("user")
    await site.settled()


async def test_the_pod_is_told_what_the_driver_says(site: Site) -> None:
    lab, driver = site.lab, site.driver
    driver.failure = "the disk is on fire"
    inline = {"name": "own", "csi": {"driver": NAME}}
    await lab.client.create(PODS, pod("unlucky", inline), "default")

    async def told() -> bool:
        found, _ = await lab.client.list_all(
            EVENTS, field_selector="involvedObject.name=unlucky,reason=FailedMount"
        )
        return any("code = Internal desc = the disk is on fire" in one["message"] for one in found)

    await until(told, "the failure is told")
    driver.failure = ""
    await lab.ready("unlucky")
    await lab.remove("unlucky")
    await site.settled()


async def test_a_kubelet_that_starts_anew_undoes_what_its_pod_left(site: Site) -> None:
    lab = site.lab
    await lab.claim("left", storageClassName="disks")
    await lab.run("goes", claimed("left"), {"name": "own", "csi": {"driver": NAME}})
    assert len(lab.mounts()) == 3
    await lab.stop_kubelet()
    await lab.client.delete(PODS, "goes", "default", grace_period_seconds=0)
    await lab.start_kubelet()
    await site.settled()


async def test_a_driver_that_leaves_is_unpublished_and_one_of_a_strange_version_refused(
    site: Site,
) -> None:
    await site.driver.stop()
    await site.lab.cluster.wait_for(CSI_NODES, NODE, lambda found: not found["spec"].get("drivers"))
    site.driver.versions = ["2.0.0"]
    site.driver.outcomes.clear()
    await site.driver.start()
    await until(lambda: site.driver.outcomes, "the driver is told")
    assert not site.driver.outcomes[0].plugin_registered
    assert "is supported" in site.driver.outcomes[0].error
    await site.driver.stop()
    site.driver.versions = ["1.0.0"]
    await site.driver.start()
    await site.lab.cluster.wait_for(CSI_NODES, NODE, lambda found: found["spec"].get("drivers"))
