"""Informers stay true: through changes, cut connections, compactions and restarts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broken_line import BrokenLine
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS
from kybern.api.user import ADMIN
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.client import Client, Informers
from kybern.client.informer import MutationDetected
from kybern.component.clock import Clock
from kybern.store.memory import MemoryStore
from kybern.testing import VirtualClock

pytestmark = pytest.mark.virtual_time


class World:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = MemoryStore()
        self.server = ApiServer(Config(), self.store, clock)
        self.transport = BrokenLine(self.server.handler, ADMIN)
        self.client = Client(self.transport, clock)
        self.other = Client.in_process(self.server.handler, ADMIN, clock)
        self.informers = Informers(self.client)

    async def write(self, name: str, value: str) -> None:
        obj = {"metadata": {"name": name, "namespace": "default"}, "data": {"v": value}}
        try:
            await self.other.create(CONFIG_MAPS, obj)
        except StatusError:
            await self.other.patch(CONFIG_MAPS, name, {"data": {"v": value}}, "default")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    world = World(VirtualClock())
    await world.server.start()
    yield world
    await world.informers.stop()
    await world.server.close()


async def settled(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.05)


def values(informer) -> dict[str, str]:  # type: ignore[no-untyped-def]
    return {obj["metadata"]["name"]: obj["data"]["v"] for obj in informer.list("default")}


async def test_it_follows_every_change_in_order(world: World) -> None:
    await world.write("a", "1")
    informer = world.informers.informer(CONFIG_MAPS, "default")
    seen: list[tuple[str | None, str | None]] = []

    def note(old: Obj | None, new: Obj | None) -> None:
        seen.append((old and old["data"]["v"], new and new["data"]["v"]))

    informer.on_change(note)
    await world.informers.start()
    await world.write("a", "2")
    await world.other.delete(CONFIG_MAPS, "a", "default")
    await settled(lambda: len(seen) == 3)
    assert seen == [(None, "1"), ("1", "2"), ("2", None)]


async def test_a_late_handler_hears_of_what_is_known(world: World) -> None:
    await world.write("a", "1")
    informer = world.informers.informer(CONFIG_MAPS, "default")
    await world.informers.start()
    heard: list[str] = []
    informer.on_change(lambda old, new: heard.append(new["metadata"]["name"] if new else ""))
    assert heard == ["a"]


async def test_a_cut_connection_is_resumed_without_a_new_list(world: World) -> None:
    informer = world.informers.informer(CONFIG_MAPS, "default")
    await world.informers.start()
    world.transport.down = True
    await world.write("a", "1")
    await asyncio.sleep(5)
    assert values(informer) == {}
    world.transport.down = False
    before = world.transport.requests
    await settled(lambda: values(informer) == {"a": "1"})
    assert world.transport.requests == before + 1


async def test_after_a_compaction_it_lists_again_and_reports_the_differences(world: World) -> None:
    await world.write("kept", "1")
    await world.write("gone", "1")
    informer = world.informers.informer(CONFIG_MAPS, "default")
    await world.informers.start()
    changes: list[tuple[str, str]] = []

    def note(old: Obj | None, new: Obj | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        changes.append((name, "gone" if new is None else "there"))

    informer.on_change(note)
    changes.clear()
    world.transport.down = True
    await world.write("late", "1")
    await world.other.delete(CONFIG_MAPS, "gone", "default")
    await world.store.compact(await world.store.revision())
    world.server.caches._caches.clear()  # A restarted server starts its window at the present.
    world.transport.down = False
    await settled(lambda: values(informer) == {"kept": "1", "late": "1"})
    assert sorted(changes) == [("gone", "gone"), ("late", "there")]


async def test_who_has_written_can_wait_until_it_shows(world: World) -> None:
    informer = world.informers.informer(CONFIG_MAPS, "default")
    await world.informers.start()
    obj = {"metadata": {"name": "a", "namespace": "default"}}
    created = await world.other.create(CONFIG_MAPS, obj)
    await informer.reached(created["metadata"]["resourceVersion"])
    assert informer.get("default/a") is not None


async def test_waiting_for_what_never_comes_ends(world: World) -> None:
    informer = world.informers.informer(CONFIG_MAPS, "default")
    await world.informers.start()
    started = asyncio.get_running_loop().time()
    await informer.reached("999999", patience=3)
    assert asyncio.get_running_loop().time() - started == pytest.approx(3, abs=0.1)


async def test_indexes_follow_the_objects(world: World) -> None:
    informer = world.informers.informer(CONFIG_MAPS, "default")
    informer.add_index("value", lambda obj: [obj["data"]["v"]])
    await world.informers.start()
    await world.write("a", "red")
    await settled(lambda: len(informer.by_index("value", "red")) == 1)
    await world.write("a", "blue")
    await settled(lambda: len(informer.by_index("value", "blue")) == 1)
    assert informer.by_index("value", "red") == []


async def test_a_handler_that_fails_harms_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    informer = world.informers.informer(CONFIG_MAPS, "default")

    def fail(old: Obj | None, new: Obj | None) -> None:
        raise RuntimeError("handler")

    informer.on_change(fail)
    await world.informers.start()
    await world.write("a", "1")
    await settled(lambda: values(informer) == {"a": "1"})
    assert "handler of configmaps failed" in caplog.text


async def test_a_change_to_a_held_object_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KYBERN_MUTATION_DETECTOR", "1")
    informers = Informers(world.client)
    informer = informers.informer(CONFIG_MAPS, "default")
    await informers.start()
    await world.write("a", "1")
    await settled(lambda: "default/a" in [f"default/{name}" for name in values(informer)])
    informer.list()[0]["data"]["v"] = "changed"
    with pytest.raises(MutationDetected):
        await informers.stop()
