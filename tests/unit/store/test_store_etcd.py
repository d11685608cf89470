"""What only a store on etcd has: members, TLS, leases, turns at compaction, and what others do."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etcd_process import Etcd, Pems, directory_in_memory
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.rpc.etcd import EtcdClient, Tls, proto
from kybern.store.etcd import EtcdStore
from kybern.store.etcd_compaction import KEY
from kybern.store.etcd_watch import trusts_progress
from kybern.store.interface import Change, StoreFailed


@pytest.fixture
def own_etcd(etcd: Etcd) -> Iterator[Etcd]:
    """A member for a test alone, which may kill it; skips where there is no etcd."""
    directory = directory_in_memory()
    server = Etcd(directory / "data")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)


@asynccontextmanager
async def opened(client: EtcdClient) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(client, prefix=f"/{uuid.uuid4()}")
    try:
        yield store
    finally:
        await store.close()


async def take(watch: AsyncIterator[Change], count: int) -> list[Change]:
    async with asyncio.timeout(10):
        return [await anext(watch) for _ in range(count)]


def test_tls_with_client_certificates(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.rpc.etcd.PATIENCE_SECONDS", 0.2)
    authority = pki.load_or_create_authority(tmp_path, "ca", "etcd-ca", Clock())
    pairs = {
        "server": authority.issue_server("etcd", ["127.0.0.1"]),
        "client": authority.issue_client("kube-apiserver-etcd-client"),
    }
    for name, pair in pairs.items():
        (tmp_path / f"{name}.crt").write_bytes(pair.certificate_pem)
        (tmp_path / f"{name}.key").write_bytes(pair.key_pem)
    names = ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")
    files = Pems(*(tmp_path / name for name in names))
    directory = directory_in_memory()
    server = Etcd(directory / "data", files)

    async def write_and_be_refused() -> None:
        async with opened(server.client()) as store:
            entry = await store.create("/a", b"1")
            assert await store.get("/a") == entry
        nobody = EtcdClient([server.url], Tls(files.authority.read_bytes()))
        async with opened(nobody) as store:
            with pytest.raises(StoreFailed):
                await store.get("/a")

    try:
        server.start()
        asyncio.run(write_and_be_refused())
    finally:
        server.kill()
        shutil.rmtree(directory)


async def test_a_member_that_is_away_is_left_for_the_next(etcd: Etcd) -> None:
    async with opened(EtcdClient(["http://127.0.0.1:1", etcd.url])) as store:
        entry = await store.create("/a", b"1")
        assert await take(store.watch("/", entry.mod_revision - 1), 1)
        assert store.problem == ""


async def test_a_watch_goes_on_where_it_was_after_an_outage(own_etcd: Etcd) -> None:
    async with opened(own_etcd.client()) as store:
        watch = store.watch("/k/", await store.revision())
        first = await store.create("/k/a", b"1")
        assert [change.key for change in await take(watch, 1)] == ["/k/a"]
        waiting = asyncio.create_task(take(watch, 2))
        outage = asyncio.create_task(own_etcd.away(0.5))
        async with asyncio.timeout(5):
            while not store.problem:
                await asyncio.sleep(0.01)
        await outage
        second = await store.update("/k/a", b"2", first.mod_revision)
        third = await store.create("/k/b", b"3")
        assert [change.entry for change in await waiting] == [second, third]
        assert store.problem == ""


async def test_an_etcd_that_stays_away_is_a_clear_error(
    own_etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.rpc.etcd.PATIENCE_SECONDS", 0.2)
    async with opened(own_etcd.client()) as store:
        await store.create("/a", b"1")
        own_etcd.kill()
        for operation in (store.get("/a"), store.create("/b", b""), store.revision()):
            with pytest.raises(StoreFailed, match="code = Unavailable"):
                await operation
        assert store.problem


async def test_keys_of_one_lease_go_together(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kybern.store.etcd_leases.EXTRA_SHARE", 1.0)
    async with opened(etcd.client()) as store:
        watch = store.watch("/e/", await store.revision())
        made = [await store.create(f"/e/{i}", b"", ttl=1) for i in range(3)]
        kept = await store.create("/e/kept", b"")
        changes = await take(watch, 7)
        gone = changes[4:]
        assert [change.entry for change in changes[:4]] == [*made, kept]
        assert all(change.entry is None for change in gone)
        assert sorted(change.key for change in gone) == [entry.key for entry in made]
        assert {change.key: change.previous for change in gone} == {e.key: e for e in made}
        assert len({change.revision for change in gone}) == 1


async def test_an_answer_in_fragments_is_put_together(etcd: Etcd) -> None:
    async with opened(etcd.client()) as store:
        start = await store.revision()
        for i in range(8):
            await store.create(f"/big/{i}", b"%d" % i * 1_000_000)
        changes = await take(store.watch("/big/", start), 8)
        assert [change.revision for change in changes] == list(range(start + 1, start + 9))
        assert [change.entry.value[:1] for change in changes if change.entry] == [
            b"%d" % i for i in range(8)
        ]


async def test_long_lists_come_in_pages_of_one_revision(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.store.etcd.RANGE_PAGE", 3)
    async with opened(etcd.client()) as store:
        for i in range(10):
            await store.create(f"/p/{i}", b"")
        revision = await store.revision()
        page = await store.list("/p/")
        assert ([e.key for e in page.entries], page.remaining, page.revision) == (
            [f"/p/{i}" for i in range(10)],
            0,
            revision,
        )
        some = await store.list("/p/", start="/p/2", limit=5)
        assert ([e.key for e in some.entries], some.remaining) == (
            [f"/p/{i}" for i in range(2, 7)],
            3,
        )


async def test_servers_take_turns_at_compaction(own_etcd: Etcd) -> None:
    async with (
        opened(own_etcd.client()) as one,
        opened(own_etcd.client()) as other,
    ):
        told: list[int] = []

        async def follow(store: EtcdStore) -> None:
            async for revision in store.compactions(0.05):
                told.append(revision)

        tasks = [asyncio.create_task(follow(store)) for store in (one, other)]
        entry = await one.create("/a", b"0")
        start = entry.mod_revision
        async with asyncio.timeout(10):
            while not told or max(told) < start + 10:
                entry = await one.update("/a", b"1", entry.mod_revision)
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        request = proto.RangeRequest(key=KEY)
        client = own_etcd.client()
        (found,) = (await client.call("KV", "Range", request, repeatable=True)).kvs
        await client.close()
        # The key that a kube-apiserver takes its turns by: each value compacted to once.
        assert int(found.value) >= max(told)
        assert found.version >= len(set(told))


async def test_only_changes_outside_need_a_nudge(etcd: Etcd) -> None:
    async with opened(etcd.client()) as store, opened(etcd.client()) as elsewhere:
        watch = store.watch("", await store.revision())
        await elsewhere.create("/a", b"")
        await store.nudge()
        (change,) = await take(watch, 1)
        assert change.revision == await store.revision()


@pytest.mark.parametrize(
    ("version", "trusted"),
    [
        ("3.4.23", False),
        ("3.4.30", False),
        ("3.4.31", True),
        ("3.5.0", False),
        ("3.5.12", False),
        ("3.5.13", True),
        ("3.6.4", True),
        ("3.6.0-rc.1", True),
        ("odd", False),
    ],
)
def test_progress_is_trusted_from_the_versions_that_tell_the_truth(
    version: str, trusted: bool
) -> None:
    assert trusts_progress(version) is trusted
