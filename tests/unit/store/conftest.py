"""Every store behind the one interface: tests that take ``open_store`` run against each."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from kybern.store.etcd import EtcdStore
from kybern.store.interface import Store
from kybern.store.memory import MemoryStore
from kybern.store.sqlite import SqliteStore

OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite", "sqlite-small-window", "etcd"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStore]:
    """Opens an empty store of one sort; whatever was opened is closed after the test.

    The revisions of etcd go on from test to test: what is empty is the prefix.
    """
    opened: list[Store] = []

    async def open_() -> Store:
        path = tmp_path / f"{len(opened)}.db"
        store: Store
        if request.param == "memory":
            store = MemoryStore()
        elif request.param == "sqlite":
            store = SqliteStore.open(path)
        elif request.param == "etcd":
            store = EtcdStore(request.getfixturevalue("etcd").client(), prefix=f"/{uuid.uuid4()}")
        else:
            # Nearly every read of the past then goes to the file.
            store = SqliteStore.open(path, max_window_changes=3)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()
