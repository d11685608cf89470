"""kill -9 at any instant: every acknowledged write is there, no revision is issued twice."""

import asyncio
import random
import signal
import sys
from pathlib import Path

import pytest
from store_writer_process import hash_of

from kybern.store.sqlite import SqliteStore

WRITER = Path(__file__).with_name("store_writer_process.py")


async def write_until_killed(path: Path, seed: int, count: int) -> list[tuple[int, str, str]]:
    """What a writer was told is durable before it died, killed after about ``count`` writes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WRITER), str(path), str(seed), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            output = b"".join([await process.stdout.readline() for _ in range(count)])
    finally:
        process.send_signal(signal.SIGKILL)
    output += await process.stdout.read()
    await process.wait()
    # The first line says that the store is open; the last one may be torn.
    lines = output.decode().split("\n")[1:-1]
    return [(int(revision), key, shown) for revision, key, shown in map(str.split, lines)]


async def check(path: Path, acknowledged: dict[str, tuple[int, str]], highest: int) -> None:
    store = SqliteStore.open(path)
    try:
        assert await store.revision() >= highest
        for key, (revision, shown) in acknowledged.items():
            entry = await store.get(key)
            if entry is None or entry.mod_revision != revision:
                # A later write may have reached the disk before its acknowledgement got out.
                newest = entry.mod_revision if entry else await store.revision()
                assert newest >= revision and (entry is None) <= (shown == "-" or newest > revision)
            else:
                assert hash_of(entry.value) == shown
    finally:
        await store.close()


async def kill_rounds(path: Path, seed: int, rounds: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    rng = random.Random(seed)
    acknowledged: dict[str, tuple[int, str]] = {}
    highest = total = 0
    for _ in range(rounds):
        writes = await write_until_killed(path, rng.randrange(2**32), rng.randrange(1, 800))
        revisions = [revision for revision, _, _ in writes]
        assert len(set(revisions)) == len(revisions)
        assert min(revisions, default=highest + 1) > highest
        for revision, key, shown in writes:
            acknowledged[key] = (revision, shown)
        highest = max(revisions, default=highest)
        total += len(writes)
        await check(path, acknowledged, highest)
    assert total > 0, "no writer lived long enough to write"


async def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    await kill_rounds(tmp_path / "store.db", random.SystemRandom().randrange(2**32), 10)


@pytest.mark.long
async def test_many_killed_writers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    await kill_rounds(tmp_path / "store.db", random.SystemRandom().randrange(2**32), 60)
