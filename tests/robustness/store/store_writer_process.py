"""Writes to a store as fast as it can, and prints every write once it is acknowledged."""

import asyncio
import random
import sys

from kybern.store.sqlite import SqliteStore


async def client(store: SqliteStore, name: int, rng: random.Random) -> None:
    """Create, update and delete one key of its own, over and over."""
    key = f"/k/{name}"
    current = await store.get(key)
    while True:
        value = b"%d" % rng.randrange(2**64) * rng.randrange(1, 200)
        if current is None:
            current = await store.create(key, value)
        elif rng.random() < 0.2:
            gone = await store.delete(key, current.mod_revision)
            say(f"{gone.mod_revision} {key} -")
            current = None
            continue
        else:
            current = await store.update(key, value, current.mod_revision)
        say(f"{current.mod_revision} {key} {hash_of(value)}")


async def compact(store: SqliteStore) -> None:
    """Compact now and then, so that the kill also hits compactions."""
    while True:
        revision = await store.revision()
        await asyncio.sleep(0.05)
        await store.compact(revision)


def say(line: str) -> None:
    """One write to the pipe, so that a line is torn only by the end of the process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def hash_of(value: bytes) -> str:
    return f"{len(value)}:{value[:20].decode()}"


async def main(path: str, seed: int) -> None:
    store = SqliteStore.open(path)
    say("open")
    rng = random.Random(seed)
    await asyncio.gather(compact(store), *(client(store, i, rng) for i in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
