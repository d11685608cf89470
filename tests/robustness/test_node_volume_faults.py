"""A kubelet that is killed between the steps of a CSI volume: the next one takes them up."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from containerd_lab import needs_containerd, until
from csi_driver import NAME, Controller, Driver
from node_process import NODE, NodeProcess, open_node_process
from storage_lab import claimed, pod

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
)

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

STEPS = ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"]
GROUP = 2000
LONG_ROUNDS = 30


@dataclass
class Site:
    """The node, its driver, and the steps after which the kubelet dies before it hears of them."""

    node: NodeProcess
    driver: Driver
    fatal: list[str] = field(default_factory=list)

    def done(self, method: str) -> None:
        if self.fatal and method == self.fatal[0]:
            self.fatal.pop(0)
            self.node.kill()
            self.node.start()

    async def claim(self) -> None:
        wanted: Obj = {
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "disks",
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }
        await self.node.client.create(PERSISTENT_VOLUME_CLAIMS, wanted, "default")

    async def fill(self) -> None:
        """Files of nobody's group are in the volume before any pod uses it."""
        bound = await self.node.cluster.wait_for(
            PERSISTENT_VOLUME_CLAIMS, "data", lambda found: found["spec"].get("volumeName")
        )
        volume = await self.node.client.get(PERSISTENT_VOLUMES, bound["spec"]["volumeName"])
        self.data = self.driver.backing / volume["spec"]["csi"]["volumeHandle"]
        self.data.mkdir(exist_ok=True)
        (self.data / "old").write_text("")

    async def use(self) -> None:
        """A pod that comes, has its group in the volume, and goes."""
        context = {"runAsUser": 1000, "fsGroup": GROUP}
        made = pod("user", claimed("data"), securityContext=context)
        made["spec"]["nodeSelector"] = {}
        await self.node.client.create(PODS, made, "default")
        await self.node.cluster.wait_for(PODS, "user", objects.is_pod_ready)
        assert self.data.stat().st_gid == (self.data / "old").stat().st_gid == GROUP
        await self.node.gone("user")
        await until(lambda: not self.node.left_of([]), "the volume is undone")

        async def detached() -> bool:
            status = (await self.node.client.get(NODES, NODE))["status"]
            attachments, _ = await self.node.client.list_all(VOLUME_ATTACHMENTS)
            return not attachments and not status.get("volumesInUse")

        await until(detached, "the volume is detached")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site() -> AsyncIterator[Site]:
    async with open_node_process() as node:
        driver = Driver(node.directory / "driver", node.root / "plugins_registry")
        await driver.start()
        controller = asyncio.create_task(Controller(node.client, driver).run())
        made = Site(node, driver)
        driver.on_done = made.done
        try:
            await node.client.create(CSI_DRIVERS, {"metadata": {"name": NAME}, "spec": {}})
            disks = {"metadata": {"name": "disks"}, "provisioner": NAME}
            await node.client.create(STORAGE_CLASSES, disks)
            await node.cluster.wait_for(CSI_NODES, NODE, lambda one: one["spec"].get("drivers"))
            await made.claim()
            await made.fill()
            yield made
        finally:
            controller.cancel()
            await asyncio.gather(controller, return_exceptions=True)
            await driver.stop()


async def test_a_kill_after_publishing_neither_loses_nor_leaves_a_volume(site: Site) -> None:
    site.fatal = ["NodePublishVolume", "NodeUnpublishVolume"]
    await site.use()
    assert site.fatal == []


@pytest.mark.long
async def test_a_kill_after_any_step_neither_loses_nor_leaves_a_volume(site: Site) -> None:
    site.fatal = list(STEPS)
    await site.use()
    assert site.fatal == []
    # Once more without kills: what was left half done would be in the way.
    await site.use()


@pytest.mark.long
async def test_kills_at_random_moments_leave_no_volume(site: Site) -> None:
    rng = random.Random(11)

    async def kill() -> None:
        while True:
            await asyncio.sleep(rng.uniform(0.2, 3))
            site.node.kill()
            site.node.start()

    killing = asyncio.create_task(kill())
    try:
        for _ in range(LONG_ROUNDS):
            await site.use()
    finally:
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
