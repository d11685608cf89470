"""How long a pod takes from its creation to Ready, beyond what the container runtime takes.

Run as root: ``bench/node.py [--pods N] [--kubelet PATH]``. On a private containerd and Kybern's API
server pods are started by bare runtime calls (the floor), then by Kybern's kubelet, then by
upstream's where it is found: one after the other, then all at once. The pods are then left alone
with an HTTP probe every ten seconds each, and the CPU and memory of the kubelet at rest are
printed: the process of the kubelet alone, without a proxy or DNS. It asserts nothing.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "cluster"))

from containerd_lab import BUSYBOX, STAY, open_runtime, shell, until

from harness import cpu_seconds, descendants, find_binary, kybern_server, pss_mb, row
from kubelets import NODE, kybern_kubelet, node_cgroup, upstream_kubelet
from kybern.api import objects
from kybern.api.resources import PODS, SERVICE_ACCOUNTS
from kybern.client import Client
from kybern.component.clock import Clock
from kybern.kubelet.cri.client import Runtime, cri
from kybern.kubelet.cri.container_config import DEFAULT_TERMINATION_PATH, container_config
from kybern.kubelet.cri.sandbox_config import sandbox_config
from kybern.kubelet.cri.security import container_security
from kybern.kubelet.devices.access import Access
from kybern.kubelet.network_files import DnsConfig
from kybern.kubelet.pods.starting import HOSTS_PATH
from kybern.rpc.client import RpcError

PROBE_SECONDS = 10
REST_SECONDS = 30
# So many are enough for a median; the rest of the pods only start all at once.
ONE_BY_ONE = 20
# How many pods the floor starts at a time; more do not make the runtime faster on a few cores.
AT_ONCE = 8
PATIENCE_SECONDS = 300

Obj = dict[str, Any]


@dataclass
class Floor:
    """Pods by bare runtime calls: what a kubelet asks for, and nothing of what it does itself."""

    runtime: Runtime
    directory: Path
    cgroup: str
    sandboxes: list[str] = field(default_factory=list)

    async def start(self, pod: Obj) -> None:
        name, container = objects.name(pod), pod["spec"]["containers"][0]
        logs, own = self.directory / name, self.directory / f"{name}-own"
        (logs / container["name"]).mkdir(parents=True)
        own.touch()
        pod["metadata"] |= {"uid": name, "namespace": "default"}
        cgroup = f"/{self.cgroup}/{name}"
        sandbox = sandbox_config(pod, 0, name, str(logs), DnsConfig(), cgroup)
        made = await self.runtime.run_sandbox(sandbox)
        self.sandboxes.append(made)
        config = container_config(
            pod,
            container,
            attempt=0,
            image_ref=BUSYBOX,
            environment={},
            mounts=[
                cri.Mount(container_path=inside, host_path=str(own))
                for inside in (HOSTS_PATH, DEFAULT_TERMINATION_PATH)
            ],
            access=Access(),
            security=container_security(pod, container, cri.Image(), ""),
            memory_capacity=1,
            unified={},
        )
        created = await self.runtime.create_container(made, config, sandbox)
        await self.runtime.start_container(created)

    async def clear(self) -> None:
        for sandbox in self.sandboxes:
            await until(partial(self._remove, sandbox), "the sandbox is removed")
        self.sandboxes.clear()

    async def _remove(self, sandbox: str) -> bool:
        """False where the runtime could not: a shim that is just ending may not answer it."""
        try:
            await self.runtime.stop_sandbox(sandbox)
            await self.runtime.remove_sandbox(sandbox)
        except RpcError:
            return False
        return True


class Watched:
    """When pods came to be Ready, and which are there, by a watch."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.ready: dict[str, float] = {}
        self.there: set[str] = set()
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        async for event in self.client.watch(PODS, "default", send_initial_events=True):
            if event["type"] == "BOOKMARK":
                continue
            name = objects.name(event["object"])
            if event["type"] == "DELETED":
                self.there.discard(name)
            else:
                self.there.add(name)
                if objects.is_pod_ready(event["object"]):
                    self.ready.setdefault(name, time.perf_counter())
            self._changed.set()

    async def all_ready(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.ready) < count:
                await self._changed.wait()
                self._changed.clear()

    async def none_left(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.there:
                await self._changed.wait()
                self._changed.clear()


@asynccontextmanager
async def watching(client: Client) -> AsyncIterator[Watched]:
    watched = Watched(client)
    following = asyncio.create_task(watched.follow())
    try:
        yield watched
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def pod(name: str, container: Obj) -> Obj:
    spec = {
        "nodeName": NODE,
        "containers": [container],
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
    }
    return {"metadata": {"name": name}, "spec": spec}


def probed() -> Obj:
    """A container that answers HTTP, and is asked."""
    answer = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'"
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": PROBE_SECONDS}
    return shell(f'exec nc -ll -p 8080 -e sh -c "{answer}"', livenessProbe=probe)


async def by_runtime(floor: Floor, count: int) -> float:
    """Print the floor, and return its median in milliseconds."""
    times = []
    for number in range(min(count, ONE_BY_ONE)):
        begun = time.perf_counter()
        await floor.start(pod(f"one-{number}", shell(STAY)))
        times.append(time.perf_counter() - begun)
        await floor.clear()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            await floor.start(pod(f"many-{number}", probed()))

    begun = time.perf_counter()
    await asyncio.gather(*map(one, range(count)))
    rate = count / (time.perf_counter() - begun)
    await floor.clear()
    median = statistics.median(times) * 1000
    row("the runtime alone", f"{median:.0f} ms", "", f"{rate:.1f}/s")
    return median


async def by_kubelet(
    title: str, kubelet: subprocess.Popen[bytes], client: Client, count: int, floor: float
) -> None:
    """Give a kubelet its pods, and print what it made of them."""

    def spent() -> float:
        return sum(map(cpu_seconds, descendants(kubelet.pid)))

    times = []
    for number in range(min(count, ONE_BY_ONE)):
        async with watching(client) as seen:
            begun = time.perf_counter()
            await client.create(PODS, pod(f"one-{number}", shell(STAY)), "default")
            await seen.all_ready(1)
            times.append(next(iter(seen.ready.values())) - begun)
            await client.delete(PODS, f"one-{number}", "default")
            await seen.none_left()
    async with watching(client) as seen:
        begun, cpu = time.perf_counter(), spent()
        pods = [pod(f"many-{number}", probed()) for number in range(count)]
        await asyncio.gather(*(client.create(PODS, one, "default") for one in pods))
        await seen.all_ready(count)
        rate, cpu = count / (time.perf_counter() - begun), (spent() - cpu) / count * 1000
        await asyncio.sleep(PROBE_SECONDS)
        resting = spent()
        await asyncio.sleep(REST_SECONDS)
        share = (spent() - resting) / REST_SECONDS * 100
        memory = pss_mb(descendants(kubelet.pid))
        await client.delete_collection(PODS, "default")
        await seen.none_left()
    median = statistics.median(times) * 1000
    row(
        title,
        f"{median:.0f} ms",
        f"{median - floor:+.0f} ms",
        f"{rate:.1f}/s",
        f"{cpu:.0f} ms",
        f"{share:.1f} %",
        f"{memory:.0f} MB",
    )


async def main(options: argparse.Namespace) -> None:
    row("", "to Ready", "beyond floor", "at once", "CPU a pod", "CPU at rest", "PSS")
    async with open_runtime() as (containerd, directory):
        with node_cgroup(f"{directory.name}-floor") as cgroup:
            (directory / "floor").mkdir()
            runtime = Runtime(f"unix://{containerd.socket}")
            floor = await by_runtime(Floor(runtime, directory / "floor", cgroup), options.pods)
            await runtime.close()
        (directory / "server").mkdir()
        async with kybern_server(directory / "server") as server:
            client = Client.from_kubeconfig(str(directory / "server" / "kubeconfig"), Clock())
            await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
            kubelets: dict[str, AbstractAsyncContextManager[subprocess.Popen[bytes]]] = {}
            arguments = (server, client, Path(containerd.socket))
            kubelets["Kybern's kubelet"] = kybern_kubelet(_made(directory / "ours"), *arguments)
            binary = find_binary(options.kubelet, "kubelet")
            if binary:
                place = _made(directory / "theirs")
                kubelets["upstream's kubelet"] = upstream_kubelet(binary, place, *arguments)
            for title, starting in kubelets.items():
                async with starting as kubelet:
                    await by_kubelet(title, kubelet, client, options.pods, floor)
            await client.close()
            if not binary:
                print("No kubelet was found to compare with.")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--kubelet", default="", help="path of a peer to compare with")
    asyncio.run(main(parser.parse_args()))
