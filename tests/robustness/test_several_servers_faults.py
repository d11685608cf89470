"""Two API server processes on one etcd, each killed under writers: nothing acknowledged is lost.

Every acknowledged write must be among the changes that etcd tells of, with its content, and the
changes must be one history: revisions grow, and each change of a key follows the one before it.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from etcd_process import Etcd
from kybern.api.errors import StatusError
from kybern.api.resources import CONFIG_MAPS
from kybern.client import ApiUnreachable, Client
from kybern.component.clock import Clock
from kybern.store.etcd import EtcdStore
from kybern.store.interface import Change

KEYS = "/registry/configmaps/default/"
WRITERS = 6
COUNTER = "counter"


@pytest.fixture
def own_etcd(etcd: Etcd, tmp_path: Path) -> Iterator[Etcd]:
    """On a real disk, because it is killed."""
    server = Etcd(tmp_path / "etcd")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def api_server(directory: Path, etcd: Etcd) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that answers; killed in the end."""
    directory.mkdir(exist_ok=True)
    kubeconfig = directory / "kubeconfig"
    kubeconfig.unlink(missing_ok=True)
    arguments = [f"--data-dir={directory}", "--secure-port=0", "--bind-address=127.0.0.1"]
    with (directory / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kybern.cluster.cli", "run", "apiserver"),
            *arguments,
            f"--etcd-servers={etcd.url}",
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(60):
            while not kubeconfig.exists():
                assert process.returncode is None, (directory / "log").read_text()
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


@dataclass
class Writers:
    """Clients that write through either server, and what they were told."""

    clients: list[Client]
    random: random.Random
    acknowledged: list[tuple[str, int, str]] = field(default_factory=list)
    counted: int = 0
    unknown: int = 0
    stopped: bool = False

    async def write(self, number: int) -> None:
        """Change a key of its own and the one that all share, through whoever answers."""
        step = 0
        while not self.stopped:
            step += 1
            client = self.clients[self.random.randrange(len(self.clients))]
            try:
                async with asyncio.timeout(8):
                    await self._replace(client, f"own-{number}", f"{number}-{step}")
                    await self._count(client)
            except (StatusError, ApiUnreachable, TimeoutError):
                await asyncio.sleep(0.02)

    async def _replace(self, client: Client, name: str, value: str) -> None:
        try:
            found = await client.get(CONFIG_MAPS, name, "default")
        except StatusError as error:
            if error.code != 404:
                raise
            made = {"metadata": {"name": name}, "data": {"v": value}}
            self._note(await client.create(CONFIG_MAPS, made, "default"), value)
            return
        self._note(await client.update(CONFIG_MAPS, {**found, "data": {"v": value}}), value)

    async def _count(self, client: Client) -> None:
        found = await client.get(CONFIG_MAPS, COUNTER, "default")
        value = str(int(found["data"]["v"]) + 1)
        try:
            self._note(await client.update(CONFIG_MAPS, {**found, "data": {"v": value}}), value)
        except StatusError as error:
            self.unknown += error.reason != "Conflict"
            raise
        except (ApiUnreachable, TimeoutError, asyncio.CancelledError):
            self.unknown += 1
            raise
        self.counted += 1

    def _note(self, stored: dict[str, dict[str, str]], value: str) -> None:
        metadata = stored["metadata"]
        self.acknowledged.append((metadata["name"], int(metadata["resourceVersion"]), value))

    async def until(self, more: int) -> None:
        """Wait for so many more acknowledged writes."""
        wanted = len(self.acknowledged) + more
        async with asyncio.timeout(30):
            while len(self.acknowledged) < wanted:
                await asyncio.sleep(0.02)


def check(writers: Writers, changes: list[Change]) -> None:
    values = {
        (change.key.removeprefix(KEYS), change.revision): orjson.loads(change.entry.value)["data"]
        for change in changes
        if change.entry is not None
    }
    for name, revision, value in writers.acknowledged:
        assert values.get((name, revision)) == {"v": value}, f"{name} at {revision} is lost"
    before: dict[str, Change] = {}
    for earlier, change in zip([None, *changes], changes, strict=False):
        assert earlier is None or change.revision > earlier.revision
        last = before.get(change.key)
        assert change.previous == (last.entry if last is not None else None)
        before[change.key] = change
    counted = int(values[(COUNTER, before[KEYS + COUNTER].revision)]["v"])
    assert writers.counted <= counted <= writers.counted + writers.unknown


async def faults(own_etcd: Etcd, tmp_path: Path, rounds: int) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    one, other = tmp_path / "one", tmp_path / "other"
    store = EtcdStore(own_etcd.client(), root="/registry", prefix="/registry")
    start = await store.revision()
    async with api_server(one, own_etcd) as victim:
        # Servers of one cluster have the same authorities and keys.
        shutil.copytree(one / "pki", other / "pki")
        async with api_server(other, own_etcd):
            clients = [
                Client.from_kubeconfig(path / "kubeconfig", Clock()) for path in (one, other)
            ]
            writers = Writers(clients, random.Random(seed))
            counter = {"metadata": {"name": COUNTER}, "data": {"v": "0"}}
            await clients[0].create(CONFIG_MAPS, counter, "default")
            tasks = [asyncio.create_task(writers.write(i)) for i in range(WRITERS)]
            for _ in range(rounds):
                await writers.until(60)
                await own_etcd.away(0.2)
                await writers.until(60)
            os.kill(victim.pid, signal.SIGKILL)
            await writers.until(60)
            writers.stopped = True
            await asyncio.gather(*tasks)
            end = await store.revision()
            watch = store.watch(KEYS, start)
            changes: list[Change] = []
            known = max(revision for _, revision, _ in writers.acknowledged)
            async with asyncio.timeout(20):
                while not changes or changes[-1].revision < known:
                    changes.append(await anext(watch))
            assert changes[-1].revision <= end
            check(writers, changes)
            # What the server that lives shows is what etcd holds.
            shown = await clients[1].list(CONFIG_MAPS, "default")
            held = {entry.key: entry.mod_revision for entry in (await store.list(KEYS)).entries}
            assert {
                KEYS + item["metadata"]["name"]: int(item["metadata"]["resourceVersion"])
                for item in shown["items"]
            } == held
            for client in clients:
                await client.close()
    await store.close()


async def test_killing_etcd_and_a_server_loses_nothing_acknowledged(
    own_etcd: Etcd, tmp_path: Path
) -> None:
    await faults(own_etcd, tmp_path, rounds=2)


@pytest.mark.long
async def test_killing_etcd_again_and_again_loses_nothing_acknowledged(
    own_etcd: Etcd, tmp_path: Path
) -> None:
    await faults(own_etcd, tmp_path, rounds=40)
