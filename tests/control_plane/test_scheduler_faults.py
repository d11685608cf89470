"""Schedulers under faults: no pod is bound twice, lost, or left assumed, whatever fails when."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping

import pytest
from manifests import Obj, pod

from kybern.api import objects
from kybern.api.resources import NODES, PODS
from kybern.api.user import ADMIN
from kybern.client import Client
from kybern.client.transport import ApiUnreachable, InProcessTransport, Reply
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import Settings
from kybern.scheduler.scheduler import Scheduler
from kybern.testing import Cluster

pytestmark = pytest.mark.virtual_time

STEPS = 40
CONFLICT = (
    b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409,'
    b'"message":"the pod is being assigned to another node"}'
)


class FaultyTransport:
    """A way to the API server that fails at random while ``is_calm`` is not set.

    Binds are refused, answered with a conflict, or carried out without an answer; while ``is_down``
    nothing gets through, and watches break.
    """

    def __init__(self, inner: InProcessTransport, rng: random.Random) -> None:
        self.is_calm = False
        self.is_down = False
        self.bound: list[str] = []
        self._inner = inner
        self._rng = rng

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        self._check()
        is_bind = method == "POST" and path.endswith("/binding")
        fault = self._rng.random() if is_bind and not self.is_calm else 1.0
        if fault < 0.1:
            raise ApiUnreachable("refused")
        if fault < 0.2:
            return Reply(409, {"content-type": "application/json"}, _chunk(CONFLICT))
        await asyncio.sleep(self._rng.random() * 0.05)
        reply = await self._inner.send(method, path, query, headers, body)
        if is_bind and reply.status == 201:
            self.bound.append(path)
        if fault < 0.35:
            raise ApiUnreachable("the answer was lost")
        return Reply(reply.status, reply.headers, self._until_down(reply.chunks))

    def with_token(self, token: str) -> "FaultyTransport":
        raise NotImplementedError

    async def close(self) -> None:
        await self._inner.close()

    async def outage(self, seconds: float) -> None:
        self.is_down = True
        await asyncio.sleep(seconds)
        self.is_down = False

    def _check(self) -> None:
        if self.is_down:
            raise ApiUnreachable("connection refused")

    async def _until_down(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self._check()
            yield chunk


async def _chunk(body: bytes) -> AsyncIterator[bytes]:
    yield body


class Lab:
    """Some schedulers on one in-process cluster, each with faults of its own."""

    def __init__(self, cluster: Cluster, seed: int, schedulers: int) -> None:
        self.cluster = cluster
        self.rng = random.Random(seed)
        self.transports = [
            FaultyTransport(InProcessTransport(cluster.server.handler, ADMIN), self.rng)
            for _ in range(schedulers)
        ]
        self.schedulers = [
            Scheduler(Client(transport, cluster.clock), cluster.clock, Settings())
            for transport in self.transports
        ]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(scheduler.run()) for scheduler in self.schedulers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def step(self, number: int) -> None:
        """A pod comes; perhaps one goes, or the API server does."""
        cpu = self.rng.choice(["100m", "250m", "500m"])
        container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}
        client = self.cluster.client
        await client.create(PODS, pod(f"p{number}", containers=[container]))
        what = self.rng.random()
        if what < 0.15:
            there, _ = await client.list_all(PODS, "default")
            await client.delete(PODS, objects.name(self.rng.choice(there)), "default")
        elif what < 0.3:
            await self.rng.choice(self.transports).outage(self.rng.random() * 5)
        elif what < 0.8:
            await asyncio.sleep(self.rng.random() * 0.3)

    async def settle(self) -> None:
        """Faults end; every pod that is still there runs."""
        for transport in self.transports:
            transport.is_calm = True

        async def all_run() -> bool:
            pods, _ = await self.cluster.client.list_all(PODS, "default")
            return all(objects.pod_phase(one) == "Running" for one in pods)

        # Long enough for garbage collection to take the pods of nodes that are gone.
        await self.cluster.wait_until(all_run, patience=600)

    async def check(self) -> None:
        """Nobody assumes anything, and all count what there is."""
        bound = [path for transport in self.transports for path in transport.bound]
        assert len(bound) == len(set(bound)), "a pod was bound twice"

        async def agree() -> bool:
            expected = await self._expected()
            return all(
                not scheduler.intake.assumed
                and not len(scheduler.queue)
                and usage(scheduler.cluster) == expected
                for scheduler in self.schedulers
            )

        await self.cluster.wait_until(agree)

    async def _expected(self) -> dict[str, tuple[int, int]]:
        columns = ClusterColumns()
        pods, _ = await self.cluster.client.list_all(PODS)
        for one in pods:
            if "nodeName" in one["spec"]:
                columns.place(one, one["spec"]["nodeName"])
        return usage(columns)


def usage(columns: ClusterColumns) -> dict[str, tuple[int, int]]:
    """Pods and cpu by node, of nodes with any."""
    nodes = columns.nodes
    cpu = nodes.resource("cpu").requested.cells
    return {
        name: (nodes.pod_count.cells[row], cpu[row])
        for name, row in nodes.rows.items()
        if nodes.pod_count.cells[row]
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.kybern(nodes=4, scheduler=False)
async def test_every_pod_is_bound_once_through_lost_answers_and_outages(
    kybern_cluster: Cluster, seed: int
) -> None:
    lab = Lab(kybern_cluster, seed, schedulers=1 + seed % 2)
    async with lab.running():
        for number in range(STEPS):
            await lab.step(number)
        await lab.settle()
        await lab.check()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.kybern(nodes=4, scheduler=False)
async def test_nodes_that_vanish_while_pods_are_bound_to_them_leave_nothing_assumed(
    kybern_cluster: Cluster, seed: int
) -> None:
    lab = Lab(kybern_cluster, seed, schedulers=1)
    async with lab.running():
        for number in range(STEPS):
            await lab.step(number)
            if number in (15, 25):
                await kybern_cluster.client.delete(NODES, f"simulated-{number // 10}")
        await lab.settle()
        await lab.check()


def test_usage_tells_different_columns_apart() -> None:
    columns = ClusterColumns()
    before = usage(columns)
    obj: Obj = pod("one")
    obj["metadata"]["uid"] = "one"
    columns.place(obj, "n1")
    assert usage(columns) != before
