"""The proxy's loop: what is applied when, and how it heals."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kybern.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES, Resource
from kybern.network import conntrack, proxy
from kybern.network.config import Config
from kybern.network.conntrack import Wanted
from kybern.network.nftables.transport import NftablesError
from kybern.network.proxy import ServiceProxy

Obj = dict[str, Any]


class Informer:
    """An informer that is told what to hold."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.handlers: list[Callable[[Obj | None, Obj | None], None]] = []
        self.index: Callable[[Obj], list[str]] = lambda obj: []

    def add_index(self, name: str, function: Callable[[Obj], list[str]]) -> None:
        self.index = function

    def by_index(self, name: str, value: str) -> list[Obj]:
        return [obj for obj in self.objects.values() if value in self.index(obj)]

    def on_change(self, handler: Callable[[Obj | None, Obj | None], None]) -> None:
        self.handlers.append(handler)

    def get(self, key: str) -> Obj | None:
        return self.objects.get(key)

    def list(self) -> list[Obj]:
        return list(self.objects.values())

    def put(self, key: str, obj: Obj | None) -> None:
        old = self.objects.pop(key, None)
        if obj is not None:
            self.objects[key] = obj
        for handler in self.handlers:
            handler(old, obj)


class Informers:
    def __init__(self) -> None:
        self.found: dict[Resource, Informer] = {}

    def informer(self, resource: Resource, **selectors: str) -> Informer:
        return self.found.setdefault(resource, Informer())


class Kernel:
    """Keeps transactions; refuses those that ``refuse`` picks."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.refuse: Callable[[str], bool] = lambda commands: False

    def run(self, commands: str) -> str:
        if self.refuse(commands):
            raise NftablesError("no")
        self.applied.append(commands)
        return ""


class Lab:
    def __init__(self) -> None:
        self.informers = Informers()
        self.kernel = Kernel()
        config = Config(healthz_port=0)
        self.proxy = ServiceProxy(self.informers, self.kernel, config, "here")  # type: ignore
        self.put(
            NODES, "here", {"metadata": {"name": "here"}, "spec": {"podCIDR": "10.244.1.0/24"}}
        )

    def put(self, resource: Resource, key: str, obj: Obj | None) -> None:
        self.informers.found[resource].put(key, obj)

    def service(self, protocol: str = "TCP", **spec: Any) -> None:
        ports = [{"port": 80, "protocol": protocol}]
        meta = {"namespace": "shop", "name": "web"}
        spec = {"clusterIP": "10.96.0.5", "ports": ports, **spec}
        self.put(SERVICES, "shop/web", {"metadata": meta, "spec": spec})

    def endpoints(self, *addresses: str, ready: bool = True, node: str = "here") -> None:
        labels = {"kubernetes.io/service-name": "web"}
        items = [
            {"addresses": [a], "nodeName": node, "conditions": {"ready": ready}} for a in addresses
        ]
        obj = {
            "metadata": {"namespace": "shop", "name": "web-1", "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080}],
            "endpoints": items,
        }
        self.put(ENDPOINT_SLICES, "shop/web-1", obj)

    async def settled(self) -> None:
        async with asyncio.timeout(5):
            await self.proxy.applied.wait()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    task = asyncio.create_task(made.proxy.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_transaction_is_the_whole_table_and_the_next_a_change(lab: Lab) -> None:
    await lab.settled()
    assert "delete table ip kybern" in lab.kernel.applied[0]
    assert "ip saddr 10.244.1.0/24" in lab.kernel.applied[0]
    lab.service()
    await lab.settled()
    assert "refused-ips { 10.96.0.5 . tcp . 80 }" in lab.kernel.applied[-1]
    lab.endpoints("10.244.1.7")
    await lab.settled()
    change = lab.kernel.applied[-1]
    assert "10.244.1.7 . 8080" in change and "table" not in change
    lab.put(SERVICES, "shop/web", None)
    await lab.settled()
    assert "delete element ip kybern service-ips { 10.96.0.5 . tcp . 80 }" in lab.kernel.applied[-1]


async def test_heartbeats_of_nodes_apply_nothing(lab: Lab) -> None:
    await lab.settled()
    before = list(lab.kernel.applied)
    node = lab.informers.found[NODES].get("here")
    lab.put(NODES, "here", {**node, "status": {"conditions": [{"type": "Ready"}]}})  # type: ignore
    assert lab.proxy.applied.is_set() and lab.kernel.applied == before


async def test_a_refused_change_is_healed_by_the_whole_table(lab: Lab) -> None:
    lab.service()
    await lab.settled()
    lab.kernel.refuse = lambda commands: "delete table" not in commands
    lab.endpoints("10.244.1.7")
    await lab.settled()
    assert "delete table" in lab.kernel.applied[-1] and "10.244.1.7" in lab.kernel.applied[-1]


async def test_a_table_that_somebody_deleted_comes_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "_CHECK_SECONDS", 0.01)
    await lab.settled()
    lab.kernel.applied.clear()
    lab.kernel.refuse = lambda commands: commands.startswith("list") and not lab.kernel.applied
    lab.put(PODS, "shop/p", {"metadata": {"namespace": "shop", "name": "p"}})
    async with asyncio.timeout(5):
        while not any("delete table" in commands for commands in lab.kernel.applied):
            await asyncio.sleep(0.01)


async def test_stale_udp_flows_are_looked_for_after_udp_changes_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[Wanted] = []
    monkeypatch.setattr(conntrack, "clean", cleaned.append)
    await lab.settled()
    lab.service("TCP")
    lab.endpoints("10.244.1.7")
    await lab.settled()
    assert cleaned == []
    lab.service("UDP")
    await lab.settled()
    assert cleaned[-1].places == {("10.96.0.5", 80): {("10.244.1.7", 8080)}}
    lab.put(SERVICES, "shop/web", None)
    await lab.settled()
    assert cleaned[-1].places == {("10.96.0.5", 80): set()}


async def test_health_checks_say_whether_this_node_has_endpoints(lab: Lab) -> None:
    probe = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    lab.service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=port)
    lab.endpoints("10.244.1.7", "10.244.1.8")
    await lab.settled()
    assert await status(port) == (200, b'"localEndpoints":2')
    lab.endpoints("10.244.1.7", node="there")
    await lab.settled()
    assert await status(port) == (503, b'"localEndpoints":0')
    lab.put(SERVICES, "shop/web", None)
    await lab.settled()
    with pytest.raises(ConnectionRefusedError):
        await status(port)


async def status(port: int) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    start = answer.index(b'"localEndpoints"')
    return int(answer.split()[1]), answer[start : answer.index(b",", start)]
