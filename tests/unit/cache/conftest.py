"""A running cache set over a memory store."""

from collections.abc import AsyncIterator

import pytest
from pod_cache import Pods

from kybern.api.kinds import builtin_registry
from kybern.apiserver.cache import CacheSet
from kybern.component.clock import Clock
from kybern.store.memory import MemoryStore


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    store = MemoryStore()
    caches = CacheSet(store, Clock(seed=1))
    await caches.start()
    kind = builtin_registry().by_kind("", "v1", "Pod")
    assert kind is not None
    cache = caches.cache(kind.kind)
    await cache.start()
    yield Pods(store, caches, cache)
    await caches.close()
    await store.close()
