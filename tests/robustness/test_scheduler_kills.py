"""Schedulers as processes, one or two that race, while what they stand on is killed.

Whatever happens, no pod is bound twice or lost, and in the end each scheduler counts exactly what
is there: alone, it fills the nodes to the last place, and not beyond.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kybern.api import objects
from kybern.api.errors import Obj, StatusError
from kybern.api.resources import NODES, PODS, SERVICE_ACCOUNTS
from kybern.client import ApiUnreachable, Client, Informers
from kybern.component.clock import Clock
from running_cluster import free_port, until

NODE_COUNT = 6
PODS_A_NODE = 50
BURST = 60
ROUNDS = 1
LONG_ROUNDS = 10


class Process:
    """A part of Kybern that runs until the test ends; it can be killed, paused and replaced."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._command = (sys.executable, "-m", "kybern.cluster.cli", "run", *arguments)
        self._running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        assert self._running is not None and self._running.returncode is None, self.words()
        os.kill(self._running.pid, number)

    async def kill(self) -> None:
        if self._running is not None and self._running.returncode is None:
            self._running.kill()
            await self._running.wait()

    async def replace(self) -> None:
        await self.kill()
        await self.start()

    def words(self) -> str:
        """The end of what it said."""
        return self._log.read_text()[-2000:]


class Lab:
    """An API server and schedulers as processes, and an outsider who watches every pod."""

    def __init__(self, directory: Path, seed: int, schedulers: int) -> None:
        data = directory / "data"
        self._kubeconfig = data / "kubeconfig"
        self.api = Process(
            directory / "api.log",
            "apiserver",
            f"--data-dir={data}",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
        )
        self.schedulers = [
            Process(
                directory / f"scheduler-{number}.log",
                "scheduler",
                f"--kubeconfig={self._kubeconfig}",
                "--leader-elect=false",
            )
            for number in range(schedulers)
        ]
        self.rng = random.Random(seed)
        self.rebound: list[str] = []
        self._made = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        processes = [self.api, *self.schedulers]
        try:
            await self.api.start()
            async with asyncio.timeout(60):
                while not self._kubeconfig.exists():
                    await asyncio.sleep(0.05)
            self.client = Client.from_kubeconfig(str(self._kubeconfig), Clock())
            await self.do(
                lambda: self.client.create(
                    SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default"
                )
            )
            for number in range(NODE_COUNT):
                await self.add_node(f"n{number}")
            self._informers = Informers(self.client)
            self.pods = self._informers.informer(PODS, "default")
            self.pods.on_change(self._pod_changed)
            await self._informers.start()
            for scheduler in self.schedulers:
                await scheduler.start()
            yield
            await self._informers.stop()
            await self.client.close()
        finally:
            for process in processes:
                await process.kill()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or objects.uid(old) != objects.uid(new):
            return
        before, after = old["spec"].get("nodeName"), new["spec"].get("nodeName")
        if before and before != after:
            self.rebound.append(f"{objects.name(new)}: {before}, then {after}")

    async def do(self, call: Callable[[], Awaitable[Obj]]) -> None:
        """Make a call until it was carried out, also by a try whose answer was lost."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await call()
                except (ApiUnreachable, StatusError) as error:
                    if isinstance(error, StatusError):
                        if error.reason in ("AlreadyExists", "NotFound"):
                            return
                        assert error.code in (403, 429, 503), error
                    await asyncio.sleep(0.02)
                else:
                    return

    async def add_node(self, name: str) -> None:
        allocatable = {"cpu": "64", "memory": "64Gi", "pods": str(PODS_A_NODE)}
        node = {"metadata": {"name": name}, "status": {"allocatable": allocatable}}
        await self.do(lambda: self.client.create(NODES, node))
        # Admission taints new nodes until they are known to be ready.
        patch = {"spec": {"taints": None}}
        await self.do(lambda: self.client.patch(NODES, name, patch, kind="merge"))

    async def add_pods(self, count: int) -> list[str]:
        names = [f"p{self._made + number}" for number in range(count)]
        self._made += count
        containers = [{"name": "main", "image": "app:1"}]
        spec = {"containers": containers, "automountServiceAccountToken": False}

        async def add(name: str) -> None:
            pod = {"metadata": {"name": name}, "spec": spec}
            await self.do(lambda: self.client.create(PODS, pod, "default"))

        await asyncio.gather(*map(add, names))
        return names

    async def remove_pods(self, names: list[str]) -> None:
        async def remove(name: str) -> None:
            await self.do(lambda: self.client.delete(PODS, name, "default", grace_period_seconds=0))

        await asyncio.gather(*map(remove, names))

    async def let_them_race(self) -> None:
        """All schedulers bind the same burst of pods; returns while they are at it."""
        for scheduler in self.schedulers:
            scheduler.send(signal.SIGSTOP)
        names = await self.add_pods(BURST)
        for scheduler in self.schedulers:
            scheduler.send(signal.SIGCONT)
        some = f"default/{names[self.rng.randrange(BURST // 2)]}"
        async with asyncio.timeout(60):
            while not is_bound(self.pods.get(some)):
                await asyncio.sleep(0)

    async def lose_the_api(self) -> None:
        await self.api.replace()

    async def lose_a_scheduler(self) -> None:
        await self.rng.choice(self.schedulers).replace()

    async def lose_a_node(self) -> None:
        name = f"n{self.rng.randrange(NODE_COUNT)}"
        await self.do(lambda: self.client.delete(NODES, name))
        await self.add_node(name)

    async def lose_pods(self) -> None:
        """The newest ones, which are being bound."""
        await self.remove_pods([objects.name(pod) for pod in self.pods.list()[-10:]])

    async def all_bound(self) -> None:
        """Wait until every pod has a node."""

        async def done() -> bool:
            pods, _ = await self.client.list_all(PODS, "default")
            return len(pods) > 0 and all(map(is_bound, pods))

        await until(done)

    async def counts_exactly(self, scheduler: Process) -> None:
        """Alone, it finds every place that is free, and turns down the pod for which none is."""
        others = [one for one in self.schedulers if one is not scheduler]
        for other in others:
            other.send(signal.SIGSTOP)
        pods, _ = await self.client.list_all(PODS, "default")
        taken = Counter(pod["spec"]["nodeName"] for pod in pods)
        free = sum(max(PODS_A_NODE - taken[f"n{number}"], 0) for number in range(NODE_COUNT))
        added = await self.add_pods(free)
        await self.all_bound()
        (beyond,) = await self.add_pods(1)

        async def is_turned_down() -> bool:
            pod = await self.client.get(PODS, beyond, "default")
            condition = objects.condition(pod, "PodScheduled")
            return condition is not None and condition.get("reason") == "Unschedulable"

        await until(is_turned_down)
        await self.remove_pods([*added, beyond])
        for other in others:
            other.send(signal.SIGCONT)


def is_bound(pod: Obj | None) -> bool:
    return pod is not None and bool(pod["spec"].get("nodeName"))


async def faults(directory: Path, schedulers: int, rounds: int) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    lab = Lab(directory, seed, schedulers)
    async with lab.running():
        for _ in range(rounds):
            losses = [lab.lose_the_api, lab.lose_a_scheduler, lab.lose_a_node, lab.lose_pods]
            for lose in lab.rng.sample(losses, len(losses)):
                await lab.let_them_race()
                await lose()
                await lab.all_bound()
            await lab.remove_pods([objects.name(pod) for pod in lab.pods.list()])
        for scheduler in lab.schedulers:
            await lab.counts_exactly(scheduler)
        assert not lab.rebound, "pods were bound twice"


@pytest.mark.parametrize("schedulers", [1, 2])
async def test_every_pod_is_bound_once_whatever_is_killed(tmp_path: Path, schedulers: int) -> None:
    await faults(tmp_path, schedulers, ROUNDS)


@pytest.mark.long
@pytest.mark.parametrize("schedulers", [1, 2])
async def test_every_pod_is_bound_once_through_many_faults(tmp_path: Path, schedulers: int) -> None:
    await faults(tmp_path, schedulers, LONG_ROUNDS)
