"""kill -9 of every process of the control plane: nothing acknowledged is lost, all comes back.

The cluster is ``kybern up`` with simulated nodes; its clients are outside of it, as users' are.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS
from kybern.client import ApiUnreachable, Client, Informers
from running_cluster import (
    RunningCluster,
    eventually,
    free_port,
    gone,
    kill,
    ready_pods,
    until,
)

WRITERS = 6
ROUNDS = 2
LONG_ROUNDS = 25


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    flags = (f"--secure-port={free_port()}", "--nodes=0", "--simulated-nodes=2")
    made = RunningCluster(tmp_path_factory.mktemp("cluster"), flags)
    try:
        made.up()
        yield made
    finally:
        made.down()
    assert not made.data_dir.exists()


@pytest.fixture
async def client(running: RunningCluster) -> AsyncIterator[Client]:
    """A client of a cluster that is up, whatever the test before did to it."""
    running.up()
    made = running.client()
    yield made
    await made.close()


@dataclass
class Known:
    """What one writer knows of its key. The value ``None`` is an absent object."""

    value: str | None = None
    revision: int = 0
    # While a write is unanswered, the key holds either the value before it or this one.
    attempted: str | None = None
    unsure: bool = False
    acknowledged: int = 0


class Writer:
    """Creates, updates and deletes one ConfigMap over and over, and checks what it is told."""

    def __init__(self, client: Client, name: str, seed: int, issued: set[int]) -> None:
        self._client = client
        self.name = name
        self._rng = random.Random(f"{seed} {name}")
        self._issued = issued
        self.known = Known()
        self.stopping = False

    async def run(self) -> None:
        """Write until ``stopping``; a write that was sent is waited for, or looked up."""
        while not self.stopping or self.known.unsure:
            try:
                if self.known.unsure:
                    await self._look()
                else:
                    await self._write_something()
            except ApiUnreachable:
                await asyncio.sleep(0.01)
            except StatusError as error:
                # A server that starts may ask for patience, and for nothing else.
                assert error.code in (429, 503), f"{self.name}: {error}"
                await asyncio.sleep(0.01)

    async def _write_something(self) -> None:
        known = self.known
        deleting = known.value is not None and self._rng.random() < 0.1
        value = None if deleting else str(self._rng.randrange(2**64))
        known.attempted, known.unsure = value, True
        revision = await self._write(value)
        assert revision > known.revision, f"{self.name}: revisions went back"
        known.value, known.revision, known.unsure = value, revision, False
        known.acknowledged += 1

    async def _write(self, value: str | None) -> int:
        metadata = {"name": self.name, "namespace": "default"}
        obj: Obj = {"metadata": metadata, "data": {"value": value}}
        if value is None:
            await self._client.delete(CONFIG_MAPS, self.name, "default")
            return self.known.revision + 1
        if self.known.value is None:
            done = await self._client.create(CONFIG_MAPS, obj, "default")
        else:
            metadata["resourceVersion"] = str(self.known.revision)
            done = await self._client.update(CONFIG_MAPS, obj)
        revision = int(done["metadata"]["resourceVersion"])
        assert revision not in self._issued, f"{revision} was issued twice"
        self._issued.add(revision)
        return revision

    async def _look(self) -> None:
        """Find out what became of the last write: it happened whole, or not at all."""
        known = self.known
        value, revision = None, known.revision
        try:
            found = await self._client.get(CONFIG_MAPS, self.name, "default")
            value, revision = found["data"]["value"], int(found["metadata"]["resourceVersion"])
        except StatusError as error:
            if error.code != 404:
                raise
        allowed = (known.value, known.attempted) if known.unsure else (known.value,)
        assert value in allowed, f"{self.name} holds {value}, not one of {allowed}"
        assert revision >= known.revision, f"{self.name}: revisions went back"
        known.value, known.revision, known.unsure = value, revision, False


class Follower:
    """An outside client that watches ConfigMaps through every outage."""

    def __init__(self, client: Client) -> None:
        self._informers = Informers(client)
        self._informer = self._informers.informer(
            CONFIG_MAPS, "default", field_selector="metadata.name!=kube-root-ca.crt"
        )

    async def start(self) -> None:
        await self._informers.start()

    async def stop(self) -> None:
        await self._informers.stop()

    async def sees(self, written: dict[str, str | None]) -> bool:
        """Whether it has exactly these values; ``None`` is an absent object."""
        seen = {objects.name(obj): obj["data"]["value"] for obj in self._informer.list()}
        return {name: seen.get(name) for name in written} == written


def deployment(name: str, replicas: int) -> Obj:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "app:1"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def scale(client: Client, name: str, replicas: int) -> None:
    """Ask until the API server has taken it."""
    patch = {"spec": {"replicas": replicas}}
    await eventually(lambda: client.patch(DEPLOYMENTS, name, patch, "default"))


async def settled(client: Client, name: str, replicas: int) -> dict[str, Obj]:
    """Wait until a Deployment says that it is done, and its pods agree; the pods."""
    pods: dict[str, Obj] = {}

    async def done() -> bool:
        found = await client.get(DEPLOYMENTS, name, "default")
        status = found.get("status") or {}
        pods.clear()
        pods.update(await ready_pods(client, PODS, f"app={name}"))
        return status.get("observedGeneration") == found["metadata"]["generation"] and status.get(
            "readyReplicas", 0
        ) == status.get("replicas", 0) == replicas == len(pods)

    await until(done)
    return pods


def uids(pods: dict[str, Obj]) -> set[str]:
    return {objects.uid(pod) for pod in pods.values()}


async def kill_rounds(running: RunningCluster, client: Client, seed: int, rounds: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    rng = random.Random(seed)
    name = f"scaled-{seed}"
    await client.create(DEPLOYMENTS, deployment(name, 1), "default")
    issued: set[int] = set()
    writers = [Writer(client, f"key-{seed}-{n}", seed, issued) for n in range(WRITERS)]
    watching = running.client()
    follower = Follower(watching)
    await follower.start()
    tasks = [asyncio.create_task(writer.run()) for writer in writers]
    try:
        for number in range(rounds):
            replicas = 1 + (number + 1) % 4
            await moved(writers, tasks, by=rng.randrange(1, 40))
            victim = running.processes()["apiserver"]
            kill(victim)
            await scale(client, name, replicas)
            await running.replaced("apiserver", victim)
            await moved(writers, tasks, by=1)
            await settled(client, name, replicas)
        for writer in writers:
            writer.stopping = True
        await asyncio.gather(*tasks)
        await until(lambda: follower.sees({w.name: w.known.value for w in writers}))
    finally:
        for task in tasks:
            task.cancel()
        await follower.stop()
        await watching.close()
    await client.delete(DEPLOYMENTS, name, "default")


async def moved(writers: list[Writer], tasks: list[asyncio.Task[None]], by: int) -> None:
    """Wait until each writer has got this many acknowledgements more."""
    wanted = [writer.known.acknowledged + by for writer in writers]

    async def reached() -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return all(w.known.acknowledged >= n for w, n in zip(writers, wanted, strict=True))

    await until(reached)


async def test_no_acknowledged_write_is_lost_when_the_api_server_is_killed(
    running: RunningCluster, client: Client
) -> None:
    others = {k: v for k, v in running.processes().items() if k != "apiserver"}
    await kill_rounds(running, client, random.SystemRandom().randrange(2**32), ROUNDS)
    now = {k: v for k, v in running.processes().items() if k != "apiserver"}
    assert now == others, "a component did not live through the outage"


@pytest.mark.long
async def test_no_acknowledged_write_is_lost_in_many_kills(
    running: RunningCluster, client: Client
) -> None:
    await kill_rounds(running, client, random.SystemRandom().randrange(2**32), LONG_ROUNDS)


async def test_a_deployment_scaled_in_an_outage_of_the_controllers_completes(
    running: RunningCluster, client: Client
) -> None:
    await client.create(DEPLOYMENTS, deployment("waiting", 2), "default")
    kept = uids(await settled(client, "waiting", 2))
    victim = running.processes()["controller-manager"]
    kill(victim)
    await scale(client, "waiting", 5)
    assert kept < uids(await settled(client, "waiting", 5))
    assert running.processes()["controller-manager"] != victim


async def test_simulated_nodes_take_up_their_pods_again(
    running: RunningCluster, client: Client
) -> None:
    await client.create(DEPLOYMENTS, deployment("lived-in", 3), "default")
    kept = uids(await settled(client, "lived-in", 3))
    victim = running.processes()["hollow"]
    kill(victim)
    await scale(client, "lived-in", 4)
    assert kept < uids(await settled(client, "lived-in", 4))
    assert running.processes()["hollow"] != victim


@pytest.mark.parametrize("victims", ["supervisor", "all"])
async def test_up_brings_a_killed_cluster_back_as_it_was(
    running: RunningCluster, client: Client, victims: str
) -> None:
    name = f"kept-{victims}"
    await client.create(DEPLOYMENTS, deployment(name, 3), "default")
    kept = uids(await settled(client, name, 3))
    nodes = uids(by_name(await client.list(NODES)))
    parent, children = running.supervisor(), list(running.processes().values())
    kill(parent, *(children if victims == "all" else ()))
    await gone([parent, *children])

    running.up()

    back = running.client()
    try:
        assert uids(by_name(await back.list(NODES))) == nodes
        assert uids(await settled(back, name, 3)) == kept
        await scale(back, name, 4)
        assert kept < uids(await settled(back, name, 4))
    finally:
        await back.close()


def by_name(listed: Obj) -> dict[str, Obj]:
    return {objects.name(item): item for item in listed["items"]}
