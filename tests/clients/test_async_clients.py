"""kr8s and lightkube: the clients that asyncio programs and charms are written with."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kr8s.asyncio
import lightkube
import pytest
from kr8s.asyncio.objects import ConfigMap as Kr8sConfigMap
from kr8s.asyncio.objects import Deployment as Kr8sDeployment
from kr8s.asyncio.objects import Pod as Kr8sPod
from lightkube.config.kubeconfig import KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import PatchType
from sample_objects import config_map, deployment, pod

from kybern.testing.plugin import Server

# kr8s says so of every server that is younger than itself.
pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported")
PATIENCE = 30.0


@pytest.fixture
async def api(server: Server, namespace: str) -> AsyncIterator[Any]:
    made = await kr8s.asyncio.api(kubeconfig=str(server.kubeconfig), namespace=namespace)
    yield made
    # kr8s has no way to close a client of its own accord.
    await made._session.aclose()


@pytest.fixture
async def light(server: Server, namespace: str) -> AsyncIterator[lightkube.AsyncClient]:
    found = KubeConfig.from_file(str(server.kubeconfig))
    async with lightkube.AsyncClient(config=found, namespace=namespace) as made:
        yield made


async def test_kr8s_creates_lists_and_patches(api: Any, namespace: str) -> None:
    made = await Kr8sConfigMap(config_map("settings", {"tier": "front"}, colour="blue"), api=api)
    await made.create()
    found = [one.name async for one in api.get("configmaps", label_selector={"tier": "front"})]
    assert found == ["settings"]
    await made.patch({"data": {"colour": "red"}})
    await made.refresh()
    assert made.raw["data"] == {"colour": "red"}
    await made.label(size="big")
    assert made.labels["size"] == "big"
    await made.delete()
    assert not await made.exists()


async def test_kr8s_watches(api: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        await (await Kr8sPod(pod("p"), api=api)).create()
        async for _, found in api.watch("pods"):
            if await found.ready():
                break


async def test_kr8s_scales_and_waits(api: Any) -> None:
    made = await Kr8sDeployment(deployment("web", 1), api=api)
    await made.create()
    await made.wait("condition=Available", timeout=PATIENCE)
    await made.scale(2)
    async with asyncio.timeout(PATIENCE):
        while len([one for one in await made.pods() if await one.ready()]) != 2:
            await asyncio.sleep(0.05)


async def test_lightkube_creates_lists_and_patches(light: lightkube.AsyncClient) -> None:
    meta = ObjectMeta(name="settings", labels={"tier": "front"})
    await light.create(ConfigMap(metadata=meta, data={"colour": "blue"}))
    found = [one.data async for one in light.list(ConfigMap, labels={"tier": "front"})]
    assert found == [{"colour": "blue"}]
    for patch_type, patch in (
        (PatchType.MERGE, {"data": {"size": "3"}}),
        (PatchType.STRATEGIC, {"data": {"colour": None}}),
        (PatchType.JSON, [{"op": "add", "path": "/data/shape", "value": "round"}]),
    ):
        await light.patch(ConfigMap, "settings", patch, patch_type=patch_type)
    assert (await light.get(ConfigMap, "settings")).data == {"size": "3", "shape": "round"}


async def test_lightkube_applies_and_conflicts(light: lightkube.AsyncClient) -> None:
    meta = ObjectMeta(name="settings")
    await light.apply(ConfigMap(metadata=meta, data={"colour": "blue"}), field_manager="one")
    with pytest.raises(lightkube.ApiError) as refused:
        await light.apply(ConfigMap(metadata=meta, data={"colour": "red"}), field_manager="two")
    assert refused.value.status.reason == "Conflict"
    assert 'conflict with "one"' in str(refused.value.status.message)


async def test_lightkube_watches_and_waits(light: lightkube.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE):
        await light.create(Deployment.from_dict(deployment("web", 1)))
        async for _, found in light.watch(Pod, labels={"app": "web"}):
            if found.status and found.status.phase == "Running":
                break
        await light.wait(Deployment, "web", for_conditions=["Available"])
        await light.delete(Deployment, "web")
        with pytest.raises(lightkube.ApiError) as refused:
            await light.get(Deployment, "web")
        assert refused.value.status.code == 404
