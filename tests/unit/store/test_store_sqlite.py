"""What only a file can do wrong: survive a restart, be shared, be full, be foreign, grow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from kybern.store.interface import Change, StoreClosed
from kybern.store.sqlite import SqliteStore
from kybern.store.sqlite_file import SCHEMA_VERSION


class FaultyDisk(apsw.VFS):
    """SQLite's default file system, with a disk that can be full or fail to sync."""

    def __init__(self) -> None:
        self.full = False
        self.broken = False
        super().__init__("faulty", "")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> "FaultyFile":
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: apsw.URIFilename | str | None, flags: list[int]
    ) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.full:
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._disk.broken:
            raise apsw.IOError("the disk does not sync")
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


async def test_a_reopened_file_shows_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.db"
    store = SqliteStore.open(path)
    kept = await store.create("/kept", b"1")
    kept = await store.update("/kept", b"2", kept.mod_revision)
    gone = await store.create("/gone", b"")
    await store.delete("/gone", gone.mod_revision)
    revision = await store.revision()
    await store.close()
    store = SqliteStore.open(path)
    assert await store.revision() == revision
    assert list((await store.list("/")).entries) == [kept]
    assert (await store.create("/next", b"")).mod_revision == revision + 1
    await store.close()


async def test_the_files_are_the_owners_alone(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "store.db")
    await store.create("/secret", b"")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.keys() >= {"store.db", "store.db-wal", "store.db.lock"}
    assert set(modes.values()) == {0o600}
    await store.close()


async def test_a_watch_resumes_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore.open(path)
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first.mod_revision)
    await store.close()
    store = SqliteStore.open(path)
    watch = store.watch("/", 1)
    assert [await anext(watch) for _ in range(2)] == [
        Change(2, "/a", first, None),
        Change(3, "/a", second, first),
    ]
    await store.close()


async def test_revisions_are_not_issued_again_after_all_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore.open(path)
    entry = await store.create("/a", b"1")
    deleted = await store.delete("/a", entry.mod_revision)
    await store.compact(deleted.mod_revision)
    await store.close()
    store = SqliteStore.open(path)
    assert await store.revision() == deleted.mod_revision
    assert (await store.create("/b", b"")).mod_revision == deleted.mod_revision + 1
    await store.close()


async def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore.open(path)
    with pytest.raises(StoreClosed, match="in use by another process"):
        SqliteStore.open(path)
    await store.create("/a", b"")
    await store.close()
    await SqliteStore.open(path).close()


async def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await SqliteStore.open(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}").fetchall()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreClosed, match="written by a newer Kybern"):
        SqliteStore.open(path)
    assert path.read_bytes() == before


async def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (x)").fetchall()
    connection.close()
    with pytest.raises(StoreClosed, match="another program"):
        SqliteStore.open(path)
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database " * 100)
    with pytest.raises(StoreClosed, match="cannot be opened"):
        SqliteStore.open(garbage)


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreClosed, match="cannot be opened"):
        SqliteStore.open(tmp_path / "file" / "store.db")


async def test_a_full_disk_refuses_writes_until_there_is_room(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore.open(path, vfs="faulty")
    entry = await store.create("/a", b"1")
    watch = store.watch("/", entry.mod_revision)
    disk.full = True
    results = await asyncio.gather(
        store.update("/a", b"2", entry.mod_revision),
        *(store.create(f"/b/{i}", b"x" * 5000) for i in range(10)),
        return_exceptions=True,
    )
    assert all(isinstance(result, StoreClosed) for result in results)
    assert await store.get("/a") == entry
    assert not (await store.list("/b/")).entries
    disk.full = False
    again = await store.update("/a", b"3", entry.mod_revision)
    assert (await anext(watch)).entry == again
    await store.close()
    store = SqliteStore.open(path)
    assert list((await store.list("/")).entries) == [again]
    await store.close()


async def test_a_disk_that_fails_to_sync_closes_the_store(tmp_path: Path, disk: FaultyDisk) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore.open(path, vfs="faulty")
    entry = await store.create("/a", b"1")
    watch = store.watch("/", entry.mod_revision)
    disk.broken = True
    with pytest.raises(StoreClosed):
        await store.update("/a", b"2", entry.mod_revision)
    disk.broken = False
    with pytest.raises(StoreClosed):
        await store.create("/b", b"")
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    await store.close()
    # What was acknowledged is there, whatever became of the write that failed.
    store = SqliteStore.open(path)
    kept = await store.get("/a")
    assert kept is not None and kept.create_revision == entry.create_revision
    assert await store.get("/b") is None
    await store.close()


async def test_the_file_shrinks_after_compaction(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore.open(path)
    entries = [await store.create(f"/k/{i:02}", b"x" * 4000) for i in range(20)]
    for _ in range(40):
        entries = list(
            await asyncio.gather(*(store.update(e.key, e.value, e.mod_revision) for e in entries))
        )
    await store.compact(await store.revision())
    assert list((await store.list("/k/")).entries) == entries
    await store.close()
    assert path.stat().st_size < 3 * 20 * 4000
    assert not path.with_name("store.db-wal").exists()


async def test_closing_ends_a_compaction_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.store.sqlite.COMPACTION_BATCH", 1)
    path = tmp_path / "store.db"
    store = SqliteStore.open(path)
    entry = await store.create("/a", b"")
    for i in range(50):
        entry = await store.update("/a", b"%d" % i, entry.mod_revision)
    compaction = asyncio.create_task(store.compact(entry.mod_revision))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreClosed):
        await compaction
    store = SqliteStore.open(path)
    assert await store.get("/a") == entry
    await store.compact(entry.mod_revision)
    assert await store.get("/a", entry.mod_revision) == entry
    await store.close()


async def test_more_writers_than_the_queue_holds_all_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.store.sqlite.MAX_WRITES_UNDER_WAY", 3)
    store = SqliteStore.open(tmp_path / "store.db")
    entries = await asyncio.gather(*(store.create(f"/k/{i}", b"") for i in range(50)))
    assert sorted(entry.mod_revision for entry in entries) == list(range(2, 52))
    await store.close()
