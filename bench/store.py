"""Durable compare-and-swap writes per second of each store, and LIST and WATCH of the cache.

    .venv/bin/python bench/store.py [--etcd PATH]

CPU is that of this process, clients included, in microseconds per operation; where etcd is found,
that of its process comes on top.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from harness import etcd_server, find_binary, free_port
from kybern.api.kinds import builtin_registry
from kybern.api.selectors import LabelSelector
from kybern.apiserver.cache import CacheSet
from kybern.component.clock import Clock
from kybern.rpc.etcd import EtcdClient
from kybern.store.etcd import EtcdStore
from kybern.store.interface import Store
from kybern.store.memory import MemoryStore
from kybern.store.sqlite import SqliteStore

VALUE = b"x" * 3_000
PODS = "/registry/pods/"


async def measure(name: str, count: int, work: Callable[[], Awaitable[Any]]) -> None:
    """Run ``work``, which does ``count`` operations, and print its rate."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:48} {count / wall:12,.0f} /s {cpu / count * 1e6:10.1f} us CPU")


async def bench_writes(name: str, store: Store) -> None:
    async def client(key: str, count: int) -> None:
        entry = await store.create(key, VALUE)
        for _ in range(count - 1):
            entry = await store.update(key, VALUE, entry.mod_revision)

    for clients, each in ((1, 1000), (16, 300), (128, 80)):

        async def work(clients: int = clients, each: int = each) -> None:
            await asyncio.gather(*(client(f"/{clients}/{i}", each) for i in range(clients)))

        await measure(f"{name}: 3 KB writes, {clients} clients", clients * each, work)


def pod(index: int) -> dict[str, Any]:
    """A pod of about 5 KB."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"pod-{index:05}",
            "namespace": "default",
            "labels": {"app": f"app-{index % 50}", "tier": "web"},
            "annotations": {f"example.com/{i}": "y" * 80 for i in range(40)},
        },
        "spec": {"nodeName": f"node-{index % 10}", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running"},
    }


async def bench_cache() -> None:
    store = MemoryStore()
    caches = CacheSet(store, Clock())
    await caches.start()
    kind = builtin_registry().by_kind("", "v1", "Pod")
    assert kind is not None
    cache = caches.cache(kind.kind)
    await cache.start()

    async def create() -> None:
        for i in range(1000):
            await cache.create(f"{PODS}default/pod-{i:05}", pod(i))

    async def list_all(times: int = 100) -> None:
        for _ in range(times):
            listing = await cache.list(PODS)
            size = len(b",".join([cached.json() for cached in listing.items]))
        assert size > 4_000_000

    async def select(label: str, times: int = 2000) -> None:
        selector = LabelSelector.parse(label)
        for _ in range(times):
            await cache.list(PODS, selector=selector)

    await measure("cache: create a 5 KB pod", 1000, create)
    await measure("cache: first LIST of 1,000, bytes joined", 1, lambda: list_all(1))
    await measure("cache: LIST of 1,000, bytes joined", 100, list_all)
    await measure("cache: LIST by label, 20 of 1,000", 2000, lambda: select("app=app-7"))
    await measure("cache: LIST by label, no hit", 2000, lambda: select("app=none"))
    await bench_watch(caches, 500, 300)
    await caches.close()


async def bench_watch(caches: CacheSet, watchers: int, events: int) -> None:
    kind = builtin_registry().by_kind("", "v1", "Pod")
    assert kind is not None
    cache = caches.cache(kind.kind)

    async def watcher() -> None:
        watch = cache.watch(PODS, resource_version=str(caches.revision))
        seen = 0
        while seen < events:
            batch = await watch.batch()
            seen += len(batch)
            b"".join([event.json() for event in batch])
        watch.close()

    async def work() -> None:
        tasks = [asyncio.create_task(watcher()) for _ in range(watchers)]
        await asyncio.sleep(0)
        key = f"{PODS}default/watched"
        current = await cache.create(key, pod(99_999))
        for _ in range(events - 1):
            current = await cache.update(key, dict(current.obj), current.mod_revision)
        await asyncio.gather(*tasks)

    await measure(f"cache: deliver an event to {watchers} watchers", events, work)


async def main(etcd: str) -> None:
    await bench_writes("memory", MemoryStore())
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore.open(Path(directory) / "store.db")
        await bench_writes("sqlite", store)
        await store.close()
        if etcd:
            port = free_port()
            with etcd_server(Path(directory), etcd, port):
                shared = EtcdStore(EtcdClient([f"http://127.0.0.1:{port}"]), prefix="/bench")
                await bench_writes("etcd", shared)
                await shared.close()
        else:
            print("No etcd was found to measure beside.")
    await bench_cache()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--etcd", default="", help="path of etcd")
    uvloop.run(main(find_binary(parser.parse_args().etcd, "etcd")))
