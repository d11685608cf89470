"""Events are counted, combined and bounded."""

import asyncio

import pytest

from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, EVENTS, Resource
from kybern.client import EventRecorder
from kybern.client.event_writers import WRITERS
from kybern.client.events import BURST, SIMILAR_LIMIT
from kybern.testing import Cluster

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False),
]


async def subject(cluster: Cluster) -> Obj:
    obj = {"metadata": {"name": "it", "namespace": "default"}}
    return await cluster.client.create(CONFIG_MAPS, obj)


async def recorded(cluster: Cluster) -> list[Obj]:
    return (await cluster.client.list(EVENTS, "default"))["items"]


async def test_an_event_names_its_object_and_its_source(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    recorder = EventRecorder(kybern_cluster.client, kybern_cluster.clock, "tester", "host-1")
    recorder.event(it, "Warning", "Broken", "it broke", field_path="spec.part")
    await recorder.flush()
    (event,) = await recorded(kybern_cluster)
    assert event["involvedObject"]["uid"] == it["metadata"]["uid"]
    assert event["involvedObject"]["fieldPath"] == "spec.part"
    assert event["source"] == {"component": "tester", "host": "host-1"}
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Broken", "it broke")
    await recorder.close()


async def test_the_same_event_is_counted(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    recorder = EventRecorder(kybern_cluster.client, kybern_cluster.clock, "tester")
    for _ in range(5):
        recorder.event(it, "Normal", "Again", "and again")
    await recorder.close()
    (event,) = await recorded(kybern_cluster)
    assert event["count"] == 5


async def test_many_similar_events_are_combined(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    recorder = EventRecorder(kybern_cluster.client, kybern_cluster.clock, "tester")
    for number in range(SIMILAR_LIMIT + 5):
        recorder.event(it, "Normal", "Many", f"number {number}")
    await recorder.close()
    messages = [event["message"] for event in await recorded(kybern_cluster)]
    plain = [text for text in messages if not text.startswith("(combined from similar events): ")]
    assert len(plain) == SIMILAR_LIMIT


async def test_a_flood_about_one_object_is_cut_off(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    recorder = EventRecorder(kybern_cluster.client, kybern_cluster.clock, "tester")
    for _ in range(BURST * 3):
        recorder.event(it, "Normal", "Flood", "drip")
    await recorder.close()
    (event,) = await recorded(kybern_cluster)
    assert event["count"] == BURST


async def test_a_slow_write_holds_up_no_event_about_another_object(
    kybern_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = await subject(kybern_cluster)
    others = [
        await kybern_cluster.client.create(
            CONFIG_MAPS, {"metadata": {"name": f"other-{number}", "namespace": "default"}}
        )
        for number in range(WRITERS)
    ]
    create, blocked = kybern_cluster.client.create, asyncio.Event()

    async def slow(resource: Resource, event: Obj) -> Obj:
        if event["message"] == "first":
            await blocked.wait()
        return await create(resource, event)

    monkeypatch.setattr(kybern_cluster.client, "create", slow)
    recorder = EventRecorder(kybern_cluster.client, kybern_cluster.clock, "tester")
    for message in ("first", "second"):
        recorder.event(it, "Normal", "Slow", message)
    for other in others:
        recorder.event(other, "Normal", "Quick", "at once")

    async def some_are_written() -> bool:
        return bool(await recorded(kybern_cluster))

    await kybern_cluster.wait_until(some_are_written)
    assert {event["message"] for event in await recorded(kybern_cluster)} == {"at once"}
    blocked.set()
    await recorder.close()
    written = await recorded(kybern_cluster)
    slowly = [event for event in written if event["reason"] == "Slow"]
    slowly.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
    assert [event["message"] for event in slowly] == ["first", "second"]
    assert len(written) == 2 + len(others)


async def test_an_event_that_cannot_be_written_is_dropped(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    lost = {**it, "metadata": {**it["metadata"], "namespace": "no-such-namespace"}}
    recorder = EventRecorder(kybern_cluster.client, kybern_cluster.clock, "tester")
    recorder.event(lost, "Normal", "Lost", "nobody hears")
    recorder.event(it, "Normal", "Heard", "somebody hears")
    await recorder.close()
    assert [event["reason"] for event in await recorded(kybern_cluster)] == ["Heard"]
