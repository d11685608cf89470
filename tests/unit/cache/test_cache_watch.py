"""WATCH: where it starts, what a selector makes of a change, bookmarks, slow readers."""

import asyncio

import orjson
import pytest
from pod_cache import PODS, Pods, ready, shown

from kybern.api.errors import StatusError
from kybern.api.kinds import builtin_registry
from kybern.api.selectors import FieldSelector, LabelSelector
from kybern.store.interface import RevisionMismatch

NOT_OLDER = "NotOlderThan"


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_without_a_version_starts_with_what_exists(pods: Pods, version: str) -> None:
    await pods.create("b")
    await pods.create("a")
    watch = pods.cache.watch(PODS, resource_version=version)
    assert await ready(watch) == [("ADDED", "a", 3), ("ADDED", "b", 2)]
    await pods.create("c")
    assert await ready(watch) == [("ADDED", "c", 4)]


async def test_a_watch_from_a_version_delivers_what_came_after(pods: Pods) -> None:
    pod = await pods.create("a")
    pod = await pods.relabel(pod, x="1")
    await pods.delete(pod)
    watch = pods.cache.watch(PODS, resource_version="2")
    assert await ready(watch) == [("MODIFIED", "a", 3), ("DELETED", "a", 4)]
    await pods.create("b")
    assert await ready(watch) == [("ADDED", "b", 5)]


async def test_a_deletion_shows_the_last_state_at_its_revision(pods: Pods) -> None:
    pod = await pods.create("a", x="1")
    watch = pods.cache.watch(PODS, resource_version="2")
    await pods.delete(pod)
    line = orjson.loads((await anext(watch)).json())
    assert line["type"] == "DELETED"
    assert line["object"]["metadata"]["resourceVersion"] == "3"
    assert line["object"]["metadata"]["labels"] == {"x": "1"}


async def test_a_selector_turns_moves_in_and_out_into_additions_and_deletions(pods: Pods) -> None:
    watch = pods.cache.watch(PODS, selector=LabelSelector.parse("x=1"), resource_version="1")
    pod = await pods.create("a", x="0")
    pod = await pods.relabel(pod, x="1")
    pod = await pods.relabel(pod, x="1", y="1")
    pod = await pods.relabel(pod, x="2")
    pod = await pods.relabel(pod, x="3")
    await pods.delete(pod)
    events = await watch.batch()
    assert shown(events) == [("ADDED", "a", 3), ("MODIFIED", "a", 4), ("DELETED", "a", 5)]
    # What goes is shown as it was when it was still selected, at the revision that ended that.
    gone = orjson.loads(events[-1].json())["object"]["metadata"]
    assert (gone["labels"], gone["resourceVersion"]) == ({"x": "1", "y": "1"}, "5")


async def test_watches_by_node_name_and_prefix_get_only_their_own(pods: Pods) -> None:
    node = pods.cache.watch(
        PODS, fields=FieldSelector.parse("spec.nodeName=n1"), resource_version="1"
    )
    name = pods.cache.watch(
        f"{PODS}default/", fields=FieldSelector.parse("metadata.name=b"), resource_version="1"
    )
    namespace = pods.cache.watch(f"{PODS}other/", resource_version="1")
    for watch in (node, name, namespace):
        asyncio.ensure_future(watch.batch()).cancel()
    await asyncio.sleep(0)
    await pods.create("a", node="n1")
    await pods.create("b", node="n2")
    await pods.create("a", namespace="other")
    unbound = await pods.create("c")
    bound = {**unbound.obj, "spec": {"nodeName": "n1"}}
    await pods.cache.update(unbound.key, bound, unbound.mod_revision)
    assert await ready(node) == [("ADDED", "a", 2), ("ADDED", "c", 6)]
    assert await ready(name) == [("ADDED", "b", 3)]
    assert await ready(namespace) == [("ADDED", "a", 4)]
    for watch in (node, name, namespace):
        watch.close()
    assert len(pods.cache._watchers) == 0


async def test_initial_events_end_with_an_annotated_bookmark(pods: Pods) -> None:
    await pods.create("a")
    await pods.create("b", x="1")
    watch = pods.cache.watch(PODS, send_initial_events=True, match=NOT_OLDER, allow_bookmarks=True)
    events = await watch.batch()
    assert shown(events) == [("ADDED", "a", 2), ("ADDED", "b", 3), ("BOOKMARK", "", 3)]
    assert [event.initial_events_end for event in events] == [False, False, True]
    await pods.create("c")
    assert await ready(watch) == [("ADDED", "c", 4)]
    watch.close()


async def test_no_initial_events_means_from_now(pods: Pods) -> None:
    await pods.create("a")
    watches = [
        pods.cache.watch(PODS, resource_version=v, send_initial_events=False, match=NOT_OLDER)
        for v in ("", "0")
    ]
    waiting = [asyncio.create_task(ready(watch)) for watch in watches]
    await asyncio.sleep(0)
    await pods.create("b")
    assert await asyncio.gather(*waiting) == [[("ADDED", "b", 3)]] * 2


async def test_many_initial_events_come_in_batches_and_nothing_between_is_lost(
    pods: Pods,
) -> None:
    for i in range(250):
        await pods.create(f"p{i:03}")
    watch = pods.cache.watch(PODS, send_initial_events=True, match=NOT_OLDER, allow_bookmarks=True)
    events = await watch.batch()
    assert len(events) == 100
    await pods.create("late")
    while not events[-1].initial_events_end:
        events += await watch.batch()
    assert len(events) == 251
    assert await ready(watch) == [("ADDED", "late", 252)]
    watch.close()


async def test_an_event_is_encoded_once_for_all_watchers(pods: Pods) -> None:
    watches = [pods.cache.watch(PODS, resource_version="1") for _ in range(3)]
    await pods.create("a")
    events = [(await watch.batch())[0] for watch in watches]
    encoded = []
    lines = [event.encoded("form", lambda e: encoded.append(e) or b"line") for event in events]  # type: ignore[func-returns-value]
    assert (lines, len(encoded)) == ([b"line"] * 3, 1)


async def test_a_version_older_than_the_window_is_expired(pods: Pods) -> None:
    pod = await pods.create("a")
    pod = await pods.relabel(pod, x="1")
    pods.cache._state.forget_before(3)
    watch = pods.cache.watch(PODS, resource_version="2")
    with pytest.raises(StatusError) as refused:
        await anext(watch)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    assert refused.value.message == "too old resource version: 2 (3)"
    assert await watch.batch() == []


async def test_a_watch_of_a_future_version_waits_for_it(pods: Pods) -> None:
    watch = pods.cache.watch(PODS, resource_version="3")
    waiting = asyncio.create_task(ready(watch))
    for name in ("a", "b", "c"):
        await pods.create(name)
    assert await waiting == [("ADDED", "c", 4)]


async def test_initial_events_of_a_future_version_time_out(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.apiserver.cache.feed.REACH_SECONDS", 0.01)
    watch = pods.cache.watch(PODS, resource_version="9", send_initial_events=True, match=NOT_OLDER)
    with pytest.raises(StatusError, match="Too large resource version: 9, current: 1"):
        await anext(watch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"send_initial_events": True},
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            {"match": "NotOlderThan"},
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            {"match": "Exact", "send_initial_events": False},
            'Unsupported value: "Exact": supported values: "NotOlderThan"',
        ),
    ],
)
async def test_watch_options_that_make_no_sense_are_invalid(
    pods: Pods, options: dict[str, object], message: str
) -> None:
    with pytest.raises(StatusError) as refused:
        pods.cache.watch(PODS, **options)  # type: ignore[arg-type]
    assert refused.value.code == 422
    assert message in refused.value.message


@pytest.mark.parametrize("version", ["x", "-1", "1.5"])
async def test_a_watch_from_no_version_is_a_bad_request(pods: Pods, version: str) -> None:
    with pytest.raises(StatusError) as refused:
        pods.cache.watch(PODS, resource_version=version)
    assert refused.value.code == 400
    assert refused.value.message == (
        f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: '
        f'parsing "{version}": invalid syntax'
    )


async def test_bookmarks_come_regularly_and_tell_the_newest_revision(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.apiserver.cache.watch.BOOKMARK_SECONDS", 0.01)
    watch = pods.cache.watch(f"{PODS}x/", resource_version="1", allow_bookmarks=True)
    assert await ready(watch) == [("BOOKMARK", "", 1)]
    await pods.create("elsewhere")
    assert await ready(watch) == [("BOOKMARK", "", 2)]
    watch.close()


async def test_a_slow_reader_catches_up_from_the_window(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.apiserver.cache.watch.MAX_BUFFERED_EVENTS", 3)
    watch = pods.cache.watch(PODS, resource_version="1")
    await pods.create("p0")
    assert await ready(watch) == [("ADDED", "p0", 2)]
    for i in range(1, 10):
        await pods.create(f"p{i}")
    assert await ready(watch) == [("ADDED", f"p{i}", i + 2) for i in range(1, 10)]
    await pods.create("p10")
    assert await ready(watch) == [("ADDED", "p10", 12)]


async def test_a_reader_that_the_window_has_left_behind_is_dropped(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.apiserver.cache.watch.MAX_BUFFERED_EVENTS", 3)
    slow = pods.cache.watch(PODS, resource_version="1")
    quick = pods.cache.watch(PODS, resource_version="1")
    await pods.create("p0")
    assert len(await slow.batch()) == len(await quick.batch()) == 1
    for i in range(1, 10):
        await pods.create(f"p{i}")
        assert len(await quick.batch()) == 1
    pods.cache._state.forget_before(8)
    assert await slow.batch() == []
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    await pods.create("p10")
    assert await ready(quick) == [("ADDED", "p10", 12)]


async def test_a_write_is_read_at_once(pods: Pods) -> None:
    pod = await pods.create("a")
    assert pods.cache.get(pod.key) is pod
    changed = await pods.relabel(pod, x="1")
    assert pods.cache.get(pod.key) is changed
    await pods.delete(changed)
    assert pods.cache.get(pod.key) is None


async def test_who_loses_a_race_finds_the_winner_in_the_cache(pods: Pods) -> None:
    pod = await pods.create("a")
    results = await asyncio.gather(
        *(pods.relabel(pod, x=str(i)) for i in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, RevisionMismatch) for result in results) == 4
    current = pods.cache.get(pod.key)
    assert current is not None and current.labels == {"x": "0"}


async def test_a_closed_store_ends_the_watches_and_refuses_the_writes(pods: Pods) -> None:
    watch = pods.cache.watch(PODS, resource_version="1")
    waiting = asyncio.create_task(watch.batch())
    await asyncio.sleep(0)
    await pods.store.close()
    assert await waiting == []
    with pytest.raises(StatusError, match="the store is closed") as refused:
        await pods.create("a")
    assert refused.value.code == 503
    assert pods.caches.problem


async def test_a_feed_that_lost_its_place_loads_anew(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.store.streams.MAX_BUFFERED", 2)
    pod = await pods.create("a")
    watch = pods.cache.watch(PODS, resource_version="2")
    waiting = asyncio.create_task(watch.batch())
    await asyncio.sleep(0)
    # Changes that come without a pause outrun the feed; then the history behind it goes.
    for i in range(5):
        await pods.store.create(f"{PODS}default/p{i}", pod.payload)
    await pods.store.compact(6)
    assert await waiting == []
    listing = await pods.cache.list(PODS)
    assert len(listing.items) == 6
    again = pods.cache.watch(PODS, resource_version="7")
    await pods.create("b")
    assert await ready(again) == [("ADDED", "b", 8)]


async def test_a_cache_started_late_shows_only_what_is_stored(pods: Pods) -> None:
    kind = builtin_registry().by_kind("", "v1", "ConfigMap")
    assert kind is not None
    late = pods.caches.cache(kind.kind)
    payload = b'{"kind":"ConfigMap","metadata":{"name":"a","labels":{"x":"%d"}}}'
    entry = await pods.store.create("/registry/configmaps/default/a", payload % 1)
    await pods.store.update(entry.key, payload % 2, entry.mod_revision)
    await pods.caches.fresh_revision()
    await late.start()
    for value, found in (("1", 0), ("2", 1)):
        selector = LabelSelector.parse(f"x={value}")
        assert len((await late.list(late.prefix, selector=selector)).items) == found


async def test_a_listener_that_fails_harms_nobody(
    pods: Pods, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(before: object, after: object) -> None:
        raise RuntimeError("oops")

    pods.cache.on_change(fail)
    await pods.create("a")
    assert "oops" in caplog.text
    assert len((await pods.cache.list(PODS)).items) == 1


async def test_an_odd_stored_object_is_still_served(pods: Pods) -> None:
    odd = b'{"kind":"Pod","metadata":{"name":"a","namespace":"default"},"spec":["odd"]}'
    await pods.store.create(f"{PODS}default/a", odd)
    listing = await pods.cache.list(PODS, fields=FieldSelector.parse("spec.nodeName="))
    assert [cached.key for cached in listing.items] == [f"{PODS}default/a"]


async def test_derived_forms_stay_within_their_budget(pods: Pods) -> None:
    made = [await pods.create(f"p{i}") for i in range(50)]
    budget = pods.cache._budget
    budget._max_bytes = 20 * len(made[0].payload)
    for pod in made:
        assert pod.obj["metadata"]["name"] in pod.json().decode()
        assert budget.used <= budget._max_bytes
    assert [orjson.loads(pod.json()) == pod.obj for pod in made] == [True] * 50
