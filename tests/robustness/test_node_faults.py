"""A node that loses its parts: kubelet, containerd and shims killed, disks full, runtimes hanging.

Whatever happens, pods that run go on, statuses tell the truth afterwards, and of pods that are gone
nothing is left: leaving the lab proves it.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from node_process import NodeProcess, open_node_process

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, EVENTS, PODS
from kybern.kubelet.cri.client import cri

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

KEPT = 3
KILLS, LONG_KILLS = 3, 150
# Nothing is evicted here: what the disk lacks is told by the pods that need it.
FLAGS = ("--eviction-hard=memory.available<1Mi",)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node() -> AsyncIterator[NodeProcess]:
    async with open_node_process(*FLAGS) as made:
        settings = {"metadata": {"name": "settings"}, "data": {"color": "blue"}}
        await made.client.create(CONFIG_MAPS, settings, "default")
        yield made


def pod(name: str, script: str = STAY) -> Obj:
    """A pod with files of every kind on the node."""
    kinds = {
        "scratch": {"emptyDir": {}},
        "memory": {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        "settings": {"configMap": {"name": "settings"}},
    }
    mounts = [{"name": kind, "mountPath": f"/{kind}"} for kind in kinds]
    mounts.append({"name": "scratch", "mountPath": "/part", "subPath": "part"})
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [shell(script, volumeMounts=mounts)],
            "volumes": [{"name": kind, **source} for kind, source in kinds.items()],
        },
    }


async def run(node: NodeProcess, name: str) -> Obj:
    await node.client.create(PODS, pod(name), "default")
    return await node.cluster.wait_for(PODS, name, objects.is_pod_ready)


def container(found: Obj) -> str:
    return found["status"]["containerStatuses"][0]["containerID"]


class Load:
    """Pods that come and go as fast as the node can, until told to stop."""

    def __init__(self, node: NodeProcess, rng: random.Random) -> None:
        self._node = node
        self._rng = rng
        self.made = 0
        self.stopping = False

    async def run(self, worker: int) -> None:
        while not self.stopping:
            self.made += 1
            name = f"passing-{worker}-{self.made}"
            await self._node.client.create(PODS, pod(name), "default")
            await asyncio.sleep(self._rng.random())
            await self._node.client.delete(PODS, name, "default")
            await self._node.cluster.wait_gone(PODS, name)


async def hurt(node: NodeProcess, rng: random.Random, kills: int) -> None:
    """Kill parts of the node at random moments."""
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.1, 0.8))
        part = rng.choice(["kubelet", "kubelet", "containerd", "shim"])
        if part == "kubelet":
            node.kill()
            node.start(*FLAGS)
        elif part == "containerd":
            await node.restart_containerd()
        else:
            node.kill_a_shim(rng)


async def endure(node: NodeProcess, seed: int, kills: int) -> None:
    rng = random.Random(seed)
    names = [f"kept-{number}" for number in range(KEPT)]
    for name in names:
        await run(node, name)
    load = Load(node, rng)
    loads = [asyncio.create_task(load.run(worker)) for worker in range(2)]
    await hurt(node, rng, kills)
    load.stopping = True
    await asyncio.gather(*loads)
    for name in names:
        await node.cluster.wait_for(PODS, name, objects.is_pod_ready)

    async def true() -> bool:
        return not await node.untrue()

    await until(true, "statuses say what is")
    pods, _ = await node.client.list_all(PODS, "default")
    assert sorted(map(objects.name, pods)) == names
    await until(lambda: not node.left_of(pods), "nothing is left of the pods that passed")
    running = [one for one in await node.runtime.sandboxes() if one.state == cri.SANDBOX_READY]
    assert len(running) == KEPT
    await node.gone(*names)


async def test_a_node_outlives_kills_of_its_parts_under_load(node: NodeProcess) -> None:
    await endure(node, seed=7, kills=KILLS)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_a_node_outlives_many_kills(node: NodeProcess, seed: int) -> None:
    await endure(node, seed, LONG_KILLS)


async def test_containers_outlive_their_kubelet(node: NodeProcess) -> None:
    before = container(await run(node, "outlives"))
    node.kill()
    await node.client.delete(PODS, "outlives", "default", grace_period_seconds=0)
    await node.client.create(PODS, pod("meanwhile"), "default")
    assert [f"containerd://{one.id}" for one in await node.runtime.containers()] == [before]
    node.start(*FLAGS)
    await node.cluster.wait_for(PODS, "meanwhile", objects.is_pod_ready)
    pods, _ = await node.client.list_all(PODS, "default")
    await until(lambda: not node.left_of(pods), "what was deleted meanwhile is gone")
    await node.gone("meanwhile")


@contextlib.contextmanager
def full(node: NodeProcess) -> Iterator[str]:
    """No byte is left on the disk of the kubelet's files."""
    ballast = node.root / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))
    try:
        yield "No space left on device"
    finally:
        ballast.unlink()


@contextlib.contextmanager
def read_only(node: NodeProcess) -> Iterator[str]:
    node.make_disk("ro")
    try:
        yield "Read-only file system"
    finally:
        node.make_disk("rw")


@pytest.mark.parametrize("spoil", [full, read_only])
async def test_a_disk_that_takes_no_more_stops_nothing_that_runs(
    node: NodeProcess, spoil: Callable[[NodeProcess], contextlib.AbstractContextManager[str]]
) -> None:
    name = spoil.__name__.replace("_", "-")
    before = await run(node, f"{name}-before")
    with spoil(node) as why:
        await node.client.create(PODS, pod(f"{name}-after"), "default")

        async def told() -> bool:
            found, _ = await node.client.list_all(
                EVENTS, field_selector=f"involvedObject.name={name}-after"
            )
            return any(why in event["message"] for event in found)

        await until(told, "an event says what is wrong")
        assert await node.untrue() == []
        still = await node.client.get(PODS, f"{name}-before", "default")
        assert container(still) == container(before) and objects.is_pod_ready(still)
        # What is gone in the API goes from the node as far as it can, and the rest later.
        await node.client.delete(PODS, f"{name}-before", "default")
    await node.cluster.wait_gone(PODS, f"{name}-before")
    await node.cluster.wait_for(PODS, f"{name}-after", objects.is_pod_ready)
    await node.gone(f"{name}-after")


async def hang(node: NodeProcess, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Stop containerd for a while; what was asked for meanwhile is done afterwards."""
    before = container(await run(node, "hangs"))
    await run(node, "goes")
    process = node.containerd.process
    os.kill(process, signal.SIGSTOP)
    try:
        await node.client.create(PODS, pod("comes"), "default")
        await node.client.delete(PODS, "goes", "default")
        await meanwhile()
    finally:
        os.kill(process, signal.SIGCONT)
    after = await node.cluster.wait_for(PODS, "hangs", objects.is_pod_ready)
    assert container(after) == before
    await node.cluster.wait_gone(PODS, "goes")
    await node.cluster.wait_for(PODS, "comes", objects.is_pod_ready)
    assert await node.untrue() == []
    await node.gone("hangs", "comes")


async def test_a_runtime_that_hangs_is_waited_for(node: NodeProcess) -> None:
    async def nobody_knows() -> None:
        still = await node.client.get(PODS, "hangs", "default")
        assert objects.is_pod_ready(still)

    await hang(node, nobody_knows)


@pytest.mark.long
async def test_a_kubelet_that_starts_beside_a_hanging_runtime_waits_too(node: NodeProcess) -> None:
    async def killed() -> None:
        node.kill()
        node.start(*FLAGS)
        await asyncio.sleep(2)

    await hang(node, killed)


@pytest.mark.long
async def test_a_runtime_that_hangs_for_long_makes_the_node_not_ready(node: NodeProcess) -> None:
    async def told() -> None:
        await node.ready(is_ready=False)

    await hang(node, told)
    await node.ready()
