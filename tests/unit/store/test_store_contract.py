"""What every store promises, whichever is behind the interface."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kybern.store.interface import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    RevisionMismatch,
    Store,
    StoreClosed,
)


async def take(watch: AsyncIterator[Change], count: int) -> list[Change]:
    async with asyncio.timeout(5):
        return [await anext(watch) for _ in range(count)]


async def close(watch: AsyncIterator[Change]) -> None:
    await watch.aclose()  # type: ignore[attr-defined]


async def test_an_empty_store_has_a_revision_that_is_not_zero(store: Store) -> None:
    start = await store.revision()
    assert start == 1 or (store.shared and start > 0)
    page = await store.list("/")
    assert (list(page.entries), page.revision, page.remaining) == ([], start, 0)


async def test_each_write_takes_the_next_revision(store: Store) -> None:
    first = await store.revision() + 1
    created = await store.create("/a", b"1")
    assert created == Entry("/a", b"1", first, first)
    updated = await store.update("/a", b"2", first)
    assert updated == Entry("/a", b"2", first, first + 1)
    deleted = await store.delete("/a", first + 1)
    assert deleted == Entry("/a", b"2", first, first + 2)
    assert await store.get("/a") is None
    assert await store.revision() == first + 2


async def test_a_key_created_again_has_a_later_create_revision(store: Store) -> None:
    first = await store.create("/a", b"1")
    await store.delete("/a", first.mod_revision)
    again = await store.create("/a", b"1")
    assert again.create_revision == again.mod_revision == first.mod_revision + 2


async def test_create_refuses_a_key_that_exists(store: Store) -> None:
    entry = await store.create("/a", b"1")
    with pytest.raises(RevisionMismatch) as refused:
        await store.create("/a", b"2")
    assert refused.value.current == entry
    assert await store.revision() == entry.mod_revision


@pytest.mark.parametrize("beside", [None, -1, 1])
async def test_update_and_delete_refuse_another_revision(store: Store, beside: int | None) -> None:
    entry = await store.create("/a", b"1")
    guard = 0 if beside is None else entry.mod_revision + beside
    with pytest.raises(RevisionMismatch) as refused:
        await store.update("/a", b"2", guard)
    assert refused.value.current == entry
    with pytest.raises(RevisionMismatch):
        await store.delete("/a", guard)
    assert await store.get("/a") == entry


@pytest.mark.parametrize("guard", [0, 1, 2])
async def test_update_and_delete_refuse_a_missing_key(store: Store, guard: int) -> None:
    with pytest.raises(RevisionMismatch) as refused:
        await store.update("/a", b"2", guard)
    assert refused.value.current is None
    with pytest.raises(RevisionMismatch):
        await store.delete("/a", guard)


async def test_of_concurrent_writes_with_one_guard_one_wins(store: Store) -> None:
    entry = await store.create("/a", b"")
    results = await asyncio.gather(
        *(store.update("/a", b"%d" % i, entry.mod_revision) for i in range(20)),
        return_exceptions=True,
    )
    winners = [result for result in results if isinstance(result, Entry)]
    assert len(winners) == 1
    assert all(
        isinstance(result, RevisionMismatch) and result.current == winners[0]
        for result in results
        if result is not winners[0]
    )
    assert await store.get("/a") == winners[0]


async def test_of_concurrent_creates_one_wins(store: Store) -> None:
    results = await asyncio.gather(
        *(store.create("/a", b"%d" % i) for i in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, Entry) for result in results) == 1


async def test_a_list_is_in_byte_order_and_stays_under_its_prefix(store: Store) -> None:
    for key in ("/b/2", "/a/10", "/a/2", "/a/é", "/a/z", "/ab/1", "/a"):
        await store.create(key, b"")
    assert [e.key for e in (await store.list("/a/")).entries] == ["/a/10", "/a/2", "/a/z", "/a/é"]
    assert [e.key for e in (await store.list("/a/", start="/a/2")).entries] == [
        "/a/2",
        "/a/z",
        "/a/é",
    ]
    assert len((await store.list("")).entries) == 7
    assert len((await store.list("/a/", start="/")).entries) == 4
    assert not (await store.list("/a/", start="/b")).entries


async def test_pages_at_one_revision_show_one_state(store: Store) -> None:
    entries = [await store.create(f"/p/{i}", b"old") for i in range(6)]
    first = await store.list("/p/", limit=2)
    assert ([e.key for e in first.entries], first.remaining) == (["/p/0", "/p/1"], 4)
    await store.update("/p/3", b"new", entries[3].mod_revision)
    await store.delete("/p/4", entries[4].mod_revision)
    await store.create("/p/35", b"new")
    rest = await store.list("/p/", start="/p/1\x00", revision=first.revision)
    assert list(rest.entries) == entries[2:]
    assert rest.revision == first.revision
    assert [e.key for e in (await store.list("/p/", start="/p/3")).entries] == [
        "/p/3",
        "/p/35",
        "/p/5",
    ]


async def test_get_reads_the_past(store: Store) -> None:
    start = await store.revision()
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first.mod_revision)
    gone = await store.delete("/a", second.mod_revision)
    for i in range(5):
        await store.create(f"/other/{i}", b"")
    assert await store.get("/a", start) is None
    assert await store.get("/a", first.mod_revision) == first
    assert await store.get("/a", second.mod_revision) == second
    assert await store.get("/a", gone.mod_revision) is None
    assert await store.get("/a") is None


async def test_the_future_cannot_be_read(store: Store) -> None:
    future = await store.revision() + 1
    with pytest.raises(FutureRevision):
        await store.get("/a", future)
    with pytest.raises(FutureRevision):
        await store.list("/", revision=future)
    with pytest.raises(FutureRevision):
        await store.compact(future)


async def test_a_watch_delivers_each_change_with_what_it_replaced(store: Store) -> None:
    start = await store.revision()
    watch = store.watch("/a", start)
    created = await store.create("/a", b"1")
    await store.create("/b", b"")
    updated = await store.update("/a", b"2", created.mod_revision)
    deleted = await store.delete("/a", updated.mod_revision)
    assert await take(watch, 3) == [
        Change(start + 1, "/a", created, None),
        Change(start + 3, "/a", updated, created),
        Change(deleted.mod_revision, "/a", None, updated),
    ]
    await close(watch)


async def test_watches_from_any_revision_see_the_same_rest(store: Store) -> None:
    start = await store.revision()
    for i in range(10):
        entry = await store.create(f"/k/{i}", b"1")
        await store.update(f"/k/{i}", b"2", entry.mod_revision)
    end = start + 20
    for after in range(start, end):
        watch = store.watch("/k/", after)
        changes = await take(watch, end - after)
        assert [change.revision for change in changes] == list(range(after + 1, end + 1))
        assert all(
            change.previous is None or change.previous.mod_revision == change.revision - 1
            for change in changes
        )
        await close(watch)


async def test_a_watch_may_wait_for_a_future_revision(store: Store) -> None:
    start = await store.revision()
    watch = store.watch("/", start + 2)
    for i in range(4):
        await store.create(f"/{i}", b"")
    assert [change.revision for change in await take(watch, 2)] == [start + 3, start + 4]


async def test_a_slow_watcher_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.store.streams.MAX_BUFFERED", 4)
    first = await store.revision() + 1
    watch = store.watch("/k", first - 1)
    for i in range(20):
        await store.create(f"/k{i}", b"")
    assert [c.revision for c in await take(watch, 2)] == [first, first + 1]
    for i in range(20, 40):
        await store.create(f"/k{i}", b"")
    assert [c.revision for c in await take(watch, 38)] == list(range(first + 2, first + 40))


async def test_compaction_keeps_the_present_and_forgets_the_past(store: Store) -> None:
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first.mod_revision)
    gone = await store.create("/b", b"")
    await store.delete("/b", gone.mod_revision)
    at = await store.revision()
    await store.compact(at)
    assert await store.get("/a", at) == second
    assert list((await store.list("/", revision=at)).entries) == [second]
    with pytest.raises(Compacted) as refused:
        await store.list("/", revision=at - 1)
    assert refused.value.compacted_revision == at
    with pytest.raises(Compacted):
        await store.get("/a", first.mod_revision)
    with pytest.raises(Compacted):
        await anext(store.watch("/", at - 1))
    watch = store.watch("/", at)
    third = await store.update("/a", b"3", second.mod_revision)
    assert await take(watch, 1) == [Change(at + 1, "/a", third, second)]


async def test_history_after_the_compaction_stays_readable(store: Store) -> None:
    entry = await store.create("/a", b"0")
    history = [entry]
    for i in range(1, 10):
        entry = await store.update("/a", b"%d" % i, entry.mod_revision)
        history.append(entry)
    await store.compact(history[4].mod_revision)
    await store.compact(history[2].mod_revision)
    for old in history[4:]:
        assert await store.get("/a", old.mod_revision) == old
        page = await store.list("/", revision=old.mod_revision)
        assert list(page.entries) == [old]


async def test_a_closed_store_ends_its_watches_and_refuses_everything(store: Store) -> None:
    watch = store.watch("/", await store.revision())
    await store.create("/a", b"")
    if store.shared:
        # What a server elsewhere has not sent yet is not to be had any more.
        assert [change.key for change in await take(watch, 1)] == ["/a"]
        await store.close()
        assert [change.key async for change in watch] == []
    else:
        await store.close()
        assert [change.key async for change in watch] == ["/a"]
    for operation in (
        store.create("/b", b""),
        store.update("/a", b"", 2),
        store.delete("/a", 2),
        store.get("/a"),
        store.list("/"),
        store.revision(),
        store.compact(1),
    ):
        with pytest.raises(StoreClosed):
            await operation


async def test_a_write_whose_caller_gave_up_is_whole_or_absent(store: Store) -> None:
    task = asyncio.create_task(store.create("/a", b"1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # The next write of the key is judged only once the abandoned one is settled.
    try:
        entry = await store.create("/a", b"2")
    except RevisionMismatch as mismatch:
        assert mismatch.current is not None
        entry = mismatch.current
    assert await store.get("/a") == entry
