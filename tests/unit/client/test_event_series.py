"""Events of events.k8s.io: their form, and how they are repeated, refreshed and finished."""

import asyncio
import platform

import pytest

from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, EVENTS, EVENTS_V1, Resource
from kybern.client import SeriesRecorder, event_series
from kybern.client.event_series import FINISH_SECONDS, REFRESH_SECONDS
from kybern.client.event_writers import WRITERS_WHILE_BUSY
from kybern.testing import Cluster

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.kybern(nodes=0, controllers=False, scheduler=False),
]


async def subject(cluster: Cluster, name: str = "it") -> Obj:
    obj = {"metadata": {"name": name, "namespace": "default"}}
    return await cluster.client.create(CONFIG_MAPS, obj)


async def recorded(cluster: Cluster) -> list[Obj]:
    return (await cluster.client.list(EVENTS_V1, "default"))["items"]


def recorder_in(cluster: Cluster) -> SeriesRecorder:
    return SeriesRecorder(cluster.client, cluster.clock, "tester")


async def test_an_event_says_who_did_what_to_whom_and_why(kybern_cluster: Cluster) -> None:
    it, cause = [await subject(kybern_cluster, name) for name in ("it", "cause")]
    recorder = recorder_in(kybern_cluster)
    recorder.event(it, "Warning", "Broken", "Breaking", "it broke", related=cause)
    await recorder.close()
    (event,) = await recorded(kybern_cluster)
    told = {key: value for key, value in event.items() if key not in ("metadata", "eventTime")}
    whom, why = (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": "default",
            "name": obj["metadata"]["name"],
            "uid": obj["metadata"]["uid"],
            "resourceVersion": obj["metadata"]["resourceVersion"],
        }
        for obj in (it, cause)
    )
    assert told == {
        "type": "Warning",
        "reason": "Broken",
        "action": "Breaking",
        "note": "it broke",
        "reportingController": "tester",
        "reportingInstance": f"tester-{platform.node()}",
        "regarding": whom,
        "related": why,
        "deprecatedSource": {},
        "deprecatedFirstTimestamp": None,
        "deprecatedLastTimestamp": None,
    }
    assert event["eventTime"].endswith("Z") and "." in event["eventTime"]


async def test_events_that_differ_in_their_words_alone_are_a_series(
    kybern_cluster: Cluster,
) -> None:
    it = await subject(kybern_cluster)
    recorder = recorder_in(kybern_cluster)
    recorder.event(it, "Normal", "Again", "Repeating", "first")
    await recorder.flush()
    await asyncio.sleep(1)
    for words in ("second", "third", "fourth"):
        recorder.event(it, "Normal", "Again", "Repeating", words)
        await recorder.flush()
    recorder.event(it, "Normal", "Again", "Ending", "another action")
    await recorder.flush()
    series, other = sorted(await recorded(kybern_cluster), key=lambda event: event["note"])[::-1]
    assert (series["note"], "series" in other) == ("first", False)
    # What comes after the second is counted here, and told later.
    assert series["series"]["count"] == 2
    assert series["series"]["lastObservedTime"] > series["eventTime"]
    await asyncio.sleep(2 * FINISH_SECONDS)
    (finished,) = [e for e in await recorded(kybern_cluster) if e["note"] == "first"]
    assert finished["series"]["count"] == 4
    recorder.event(it, "Normal", "Again", "Repeating", "long after")
    await recorder.close()
    assert len(await recorded(kybern_cluster)) == 3


async def test_an_event_that_was_not_repeated_is_forgotten(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    recorder = recorder_in(kybern_cluster)
    for _ in range(2):
        recorder.event(it, "Normal", "Now", "Telling", "and then")
        await asyncio.sleep(2 * FINISH_SECONDS)
    await recorder.close()
    assert ["series" in event for event in await recorded(kybern_cluster)] == [False, False]


async def test_a_series_that_goes_on_is_refreshed(kybern_cluster: Cluster) -> None:
    it = await subject(kybern_cluster)
    recorder = recorder_in(kybern_cluster)
    for _ in range(int(REFRESH_SECONDS // 60)):
        recorder.event(it, "Normal", "Again", "Repeating", "and again")
        await asyncio.sleep(60)
    await asyncio.sleep(1)
    (event,) = await recorded(kybern_cluster)
    assert event["series"]["count"] == REFRESH_SECONDS // 60
    await kybern_cluster.client.delete(EVENTS, event["metadata"]["name"], "default")
    for _ in range(int(REFRESH_SECONDS // 60)):
        recorder.event(it, "Normal", "Again", "Repeating", "and again")
        await asyncio.sleep(60)
    # The server had let go of it.
    (event,) = await recorded(kybern_cluster)
    assert event["series"]["count"] > REFRESH_SECONDS // 60
    await recorder.close()


async def test_few_events_are_remembered(
    kybern_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_series, "REMEMBERED", 1)
    first, second = [await subject(kybern_cluster, name) for name in ("first", "second")]
    recorder = recorder_in(kybern_cluster)
    for _ in range(3):
        recorder.event(first, "Normal", "Again", "Repeating", "first")
    recorder.event(second, "Normal", "Again", "Repeating", "second")
    recorder.event(first, "Normal", "Again", "Repeating", "first anew")
    await recorder.close()
    found = await recorded(kybern_cluster)
    counts = {event["note"]: (event.get("series") or {}).get("count") for event in found}
    assert counts == {"first": 3, "second": None, "first anew": None}


async def test_few_events_at_a_time_are_written_while_there_is_more_urgent_work(
    kybern_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, is_busy = kybern_cluster.client, True
    subjects = [
        await client.create(CONFIG_MAPS, {"metadata": {"name": f"it-{n}", "namespace": "default"}})
        for n in range(60)
    ]
    create, at_once = client.create, {True: [0], False: [0]}

    async def slow(resource: Resource, event: Obj, metadata_only: bool) -> Obj:
        now = at_once[is_busy]
        now.append(now[-1] + 1)
        await asyncio.sleep(1)
        now.append(now[-1] - 1)
        return await create(resource, event)

    monkeypatch.setattr(client, "create", slow)
    clock = kybern_cluster.clock
    recorder = SeriesRecorder(client, clock, "tester", is_busy=lambda: is_busy)
    for it in subjects:
        recorder.event(it, "Normal", "Told", "Telling", "in time")

    async def some_are_written() -> bool:
        return len(await recorded(kybern_cluster)) >= 10

    await kybern_cluster.wait_until(some_are_written)
    is_busy = False
    await recorder.flush()
    assert len(await recorded(kybern_cluster)) == len(subjects)
    assert max(at_once[True]) == WRITERS_WHILE_BUSY < max(at_once[False])
    await recorder.close()
