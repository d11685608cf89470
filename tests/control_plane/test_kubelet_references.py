"""ConfigMaps and Secrets that a node's pods use: watched one by one, as a node may."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from counted_node import Counted

from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS, SERVICES
from kybern.client import Client, Informers
from kybern.kubelet.sources import watches
from kybern.kubelet.sources.references import CACHE, GET, WATCH, ApiObjects
from kybern.testing import Cluster

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False),
]


class Node:
    """The part of a kubelet that reads what pods refer to."""

    def __init__(self, cluster: Cluster, strategy: str = WATCH) -> None:
        self.cluster = cluster
        self.transport = Counted(cluster)
        client = Client(self.transport, cluster.clock)
        services = Informers(client).informer(SERVICES)
        self.node: Obj = {"metadata": {}}
        self.objects = ApiObjects(client, services, cluster.clock, strategy, lambda: self.node)
        self.woken: list[str] = []
        self.objects.watches.on_change = self.woken.append
        self.task = asyncio.create_task(self.objects.watches.run())

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.cluster.wait_until(self.watched(0))

    def watched(self, count: int) -> Any:
        async def holds() -> bool:
            return self.transport.open == count

        return holds

    async def data(self, name: str) -> Obj | None:
        found = await self.objects.config_map("default", name)
        return None if found is None else found.get("data")

    async def shown(self, name: str, data: Obj | None) -> None:
        """Wait until a read has this data."""

        async def reads() -> bool:
            return await self.data(name) == data

        await self.cluster.wait_until(reads)

    async def pod(self, name: str, *config_maps: str, secret: str = "") -> Obj:
        volumes: list[Obj] = [{"name": n, "configMap": {"name": n}} for n in config_maps]
        if secret:
            volumes.append({"name": secret, "secret": {"secretName": secret}})
        container = {"name": "main", "image": "img"}
        pod = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": "n1",
                "automountServiceAccountToken": False,
                "containers": [container],
                "volumes": volumes,
            },
        }
        made = await self.cluster.client.create(PODS, pod)
        self.objects.follow(made)
        return made


@pytest.fixture(autouse=True)
async def service_account(kybern_cluster: Cluster) -> None:
    account = {"metadata": {"name": "default", "namespace": "default"}}
    await kybern_cluster.client.create(SERVICE_ACCOUNTS, account)


@pytest.fixture
async def node(kybern_cluster: Cluster) -> AsyncIterator[Node]:
    made = Node(kybern_cluster)
    yield made
    await made.close()


async def write(cluster: Cluster, name: str, **fields: Any) -> None:
    obj = {"metadata": {"name": name, "namespace": "default"}, **fields}
    await cluster.client.create(CONFIG_MAPS, obj)


async def change(cluster: Cluster, name: str, patch: Obj) -> None:
    await cluster.client.patch(CONFIG_MAPS, name, patch, "default")


async def test_a_change_wakes_the_pods_that_use_the_object_and_costs_no_reads(
    kybern_cluster: Cluster, node: Node
) -> None:
    for name in ("a", "b"):
        await write(kybern_cluster, name, data={"v": "1"})
    first, second = await node.pod("one", "a"), await node.pod("two", "a", "b")
    assert await node.data("a") == await node.data("b") == {"v": "1"}
    await kybern_cluster.wait_until(node.watched(2))
    assert node.woken == []
    await change(kybern_cluster, "a", {"data": {"v": "2"}})
    await node.shown("a", {"v": "2"})
    uids = [pod["metadata"]["uid"] for pod in (first, second)]
    assert node.woken == uids
    for _ in range(100):
        assert await node.data("b") == {"v": "1"}
    assert (node.transport.gets, node.transport.lists) == (2, 2)
    await change(kybern_cluster, "b", {"data": {"v": "3"}})
    await node.shown("b", {"v": "3"})
    assert node.woken == [*uids, uids[1]]


async def test_an_object_that_appears_and_goes_is_noticed(
    kybern_cluster: Cluster, node: Node
) -> None:
    pod = await node.pod("one", "later")
    assert await node.data("later") is None
    await kybern_cluster.wait_until(node.watched(1))
    await write(kybern_cluster, "later", data={"v": "1"})
    await node.shown("later", {"v": "1"})
    await kybern_cluster.client.delete(CONFIG_MAPS, "later", "default")
    await node.shown("later", None)
    assert node.woken == [pod["metadata"]["uid"]] * 2


async def test_a_watch_ends_with_the_last_pod_that_needs_it(
    kybern_cluster: Cluster, node: Node
) -> None:
    await write(kybern_cluster, "shared", data={})
    pods = [await node.pod(name, "shared") for name in ("one", "two")]
    await node.data("shared")
    await kybern_cluster.wait_until(node.watched(1))
    node.objects.forget(pods[0]["metadata"]["uid"])
    await node.data("shared")
    assert node.transport.open == 1
    node.objects.forget(pods[1]["metadata"]["uid"])
    await kybern_cluster.wait_until(node.watched(0))


async def test_what_nobody_reads_any_more_is_not_watched(
    kybern_cluster: Cluster, node: Node
) -> None:
    for name in ("read", "idle"):
        await write(kybern_cluster, name, data={"v": "1"})
    await node.pod("one", "read", "idle")
    for name in ("read", "idle"):
        await node.data(name)
    await kybern_cluster.wait_until(node.watched(2))
    for _ in range(8):
        await asyncio.sleep(watches.LOOK_SECONDS)
        await node.data("read")
    assert node.transport.open == 1
    await change(kybern_cluster, "idle", {"data": {"v": "2"}})
    assert await node.data("idle") == {"v": "2"}
    await kybern_cluster.wait_until(node.watched(2))


async def test_what_cannot_change_is_kept_and_not_watched(
    kybern_cluster: Cluster, node: Node
) -> None:
    await write(kybern_cluster, "fixed", data={"v": "1"}, immutable=True)
    await write(kybern_cluster, "fixed-later", data={"v": "1"})
    await node.pod("one", "fixed", "fixed-later")
    await node.data("fixed")
    await node.data("fixed-later")
    await kybern_cluster.wait_until(node.watched(1))
    await change(kybern_cluster, "fixed-later", {"data": {"v": "2"}, "immutable": True})
    await kybern_cluster.wait_until(node.watched(0))
    asked = node.transport.gets
    await asyncio.sleep(3600)
    assert await node.data("fixed") == {"v": "1"}
    assert await node.data("fixed-later") == {"v": "2"}
    assert node.transport.gets == asked


async def test_no_more_objects_are_watched_than_there_are_connections_for(
    kybern_cluster: Cluster, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "MAX_WATCHES", 2)
    names = ["a", "b", "c"]
    for name in names:
        await write(kybern_cluster, name, data={"v": "1"})
    await node.pod("one", *names)
    for name in names:
        await node.data(name)
    await kybern_cluster.wait_until(node.watched(2))
    await change(kybern_cluster, "c", {"data": {"v": "2"}})
    await node.shown("c", {"v": "2"})
    assert node.transport.watches == 2


async def test_secrets_are_watched_too_and_outlive_the_api_server(
    kybern_cluster: Cluster, node: Node
) -> None:
    secret = {"metadata": {"name": "s", "namespace": "default"}, "data": {"k": "dg=="}}
    await kybern_cluster.client.create(SECRETS, secret)
    await node.pod("one", secret="s")
    assert await node.objects.secret_data("default", "s") == {"k": b"v"}
    await kybern_cluster.wait_until(node.watched(1))
    node.transport.down = True
    await asyncio.sleep(3600)
    assert await node.objects.secret_data("default", "s") == {"k": b"v"}
    node.transport.down = False
    await kybern_cluster.client.patch(SECRETS, "s", {"data": {"k": "dw=="}}, "default")

    async def changed() -> bool:
        return await node.objects.secret_data("default", "s") == {"k": b"w"}

    await kybern_cluster.wait_until(changed)


async def test_cached_objects_are_read_again_when_they_are_old_or_a_pod_is_new(
    kybern_cluster: Cluster,
) -> None:
    node = Node(kybern_cluster, CACHE)
    await write(kybern_cluster, "a", data={"v": "1"})
    await node.pod("one", "a")
    assert await node.data("a") == {"v": "1"}
    await change(kybern_cluster, "a", {"data": {"v": "2"}})
    assert await node.data("a") == {"v": "1"}
    await asyncio.sleep(61)
    assert await node.data("a") == {"v": "2"}
    await change(kybern_cluster, "a", {"data": {"v": "3"}})
    await node.pod("two", "a")
    assert await node.data("a") == {"v": "3"}
    node.node = {"metadata": {"annotations": {"node.alpha.kubernetes.io/ttl": "0"}}}
    await change(kybern_cluster, "a", {"data": {"v": "4"}})
    assert await node.data("a") == {"v": "4"}
    assert node.transport.watches == 0
    await node.close()


async def test_objects_may_be_asked_for_each_time(kybern_cluster: Cluster) -> None:
    node = Node(kybern_cluster, GET)
    await write(kybern_cluster, "a", data={"v": "1"})
    await node.pod("one", "a")
    for value in ("2", "3"):
        await change(kybern_cluster, "a", {"data": {"v": value}})
        assert await node.data("a") == {"v": value}
    assert (node.transport.gets, node.transport.watches) == (2, 0)
    await node.close()
