"""End to end: how long a scheduler takes to bind a backlog of pods, and what CPU it costs.

Run ``python bench/scheduling.py [--nodes N] [--pods N] [--kube-scheduler PATH]``. One API server
holds the nodes and a backlog of pending pods; then a scheduler starts, and the time from its first
bind to its last counts. Kybern's comes first; where kube-scheduler is found, it gets the same
backlog on the same server, its client's own limits raised out of the way. CPU is the scheduler
process's until it has written its last event, the reading of all objects at its start left out.
"""

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from harness import KYBERN, cpu_seconds, find_binary, kybern_server, process, pss_mb, row
from kybern.api.resources import EVENTS, NODES, PODS, SERVICE_ACCOUNTS
from kybern.client import Client
from kybern.component.clock import Clock
from scheduler import WORKLOADS, node

Obj = dict[str, Any]

AT_ONCE = 32
POLL_SECONDS = 0.1
SETTLE_SECONDS = 1.0
PATIENCE_SECONDS = 900.0
MEASURED = (
    "basic",
    "pod anti-affinity",
    "pod affinity",
    "topology spreading",
    "preferred spreading",
)


async def all_of(calls: Iterable[Awaitable[Any]]) -> None:
    """Await many calls, some at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[Any]) -> None:
        async with gate:
            await call

    await asyncio.gather(*map(one, calls))


async def make_nodes(client: Client, count: int) -> None:
    async def one(number: int) -> None:
        obj = node(number)
        await client.create(NODES, obj)
        # Admission taints new nodes until they are known to be ready.
        patch = {"spec": {"taints": None}}
        await client.patch(NODES, obj["metadata"]["name"], patch, kind="merge")

    await all_of(map(one, range(count)))


async def make_pods(client: Client, maker: Callable[[int], Obj], count: int) -> None:
    async def one(number: int) -> None:
        pod = maker(number)
        del pod["metadata"]["uid"]
        pod["spec"]["automountServiceAccountToken"] = False
        await client.create(PODS, pod, "default")

    await all_of(map(one, range(count)))


async def clear_pods(client: Client) -> None:
    """No node is there to end them, so they go at once."""
    pods, _ = await client.list_all(PODS, "default", metadata_only=True)
    names = [pod["metadata"]["name"] for pod in pods]
    await client.delete_collection(EVENTS, "default")
    await all_of(client.delete(PODS, name, "default", grace_period_seconds=0) for name in names)


async def are_there(client: Client, selector: str) -> bool:
    """Whether any pod matches a field selector."""
    page = await client.list(PODS, "default", field_selector=selector, limit=1)
    return bool(page["items"])


async def until(condition: Callable[[], Awaitable[bool]], pid: int) -> tuple[float, float]:
    """When a condition came to hold, by the clock and by the process's CPU."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter(), cpu_seconds(pid)


async def all_events(client: Client) -> int:
    """How many events there are once they stop growing in number."""
    before, count = -1, 0
    while count != before:
        await asyncio.sleep(SETTLE_SECONDS)
        events, _ = await client.list_all(EVENTS, "default", metadata_only=True)
        before, count = count, len(events)
    return count


async def measure(client: Client, command: list[str], log: Path, count: int) -> Obj:
    """Run one scheduler on the backlog, and clear the pods away."""

    async def has_begun() -> bool:
        return await are_there(client, "spec.nodeName!=")

    async def is_done() -> bool:
        return not await are_there(client, "spec.nodeName=")

    with process(command, log) as running:
        began, began_cpu = await until(has_begun, running.pid)
        early, _ = await client.list_all(
            PODS, "default", field_selector="spec.nodeName!=", metadata_only=True
        )
        ended, _ = await until(is_done, running.pid)
        memory = pss_mb([running.pid])
        events = await all_events(client)
        ended_cpu = cpu_seconds(running.pid)
    await clear_pods(client)
    seconds, bound = max(ended - began, POLL_SECONDS), max(count - len(early), 1)
    return {
        "rate": bound / seconds,
        "cpu": (ended_cpu - began_cpu) / bound * 1e6,
        "memory": memory,
        "events": events,
    }


def commands(kubeconfig: Path, kube_scheduler: str) -> dict[str, list[str]]:
    """The schedulers to measure."""
    access = f"--kubeconfig={kubeconfig}"
    found = {"kybern": [*KYBERN, "run", "scheduler", access, "--leader-elect=false"]}
    if kube_scheduler:
        limits = ["--kube-api-qps=10000", "--kube-api-burst=20000"]
        alone = ["--leader-elect=false", "--secure-port=0", "--v=0"]
        found["kube-scheduler"] = [kube_scheduler, access, *limits, *alone]
    return found


async def main(options: argparse.Namespace) -> None:
    kube_scheduler = find_binary(options.kube_scheduler, "kube-scheduler")
    if not kube_scheduler:
        print("No kube-scheduler was found: figures without ratios.")
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kybern-bench-")))
        await stack.enter_async_context(kybern_server(directory))
        kubeconfig = directory / "kubeconfig"
        client = Client.from_kubeconfig(str(kubeconfig), Clock())
        stack.push_async_callback(client.close)
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
        await make_nodes(client, options.nodes)
        row(
            f"{options.nodes} nodes, {options.pods} pods",
            "pods/s",
            "CPU us/pod",
            "MB",
            "events",
            "rate ratio",
        )
        for name in MEASURED:
            if options.only not in name:
                continue
            rates: list[float] = []
            for scheduler, command in commands(kubeconfig, kube_scheduler).items():
                await make_pods(client, WORKLOADS[name], options.pods)
                found = await measure(client, command, directory / "log", options.pods)
                rates.append(found["rate"])
                figures = [f"{found[one]:.0f}" for one in ("rate", "cpu", "memory", "events")]
                row(f"{name}: {scheduler}", *figures, f"{rates[0] / rates[-1]:.1f}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--kube-scheduler", default="", help="path of a peer to compare with")
    asyncio.run(main(parser.parse_args()))
