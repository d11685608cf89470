"""How much time the kubelet adds to what the container runtime itself takes to start a pod.

Run as root: ``python bench/node.py [PODS]``. On a private containerd it starts pods one after the
other, each by bare runtime calls (the floor) and by the kubelet, then many at once, and prints
medians in milliseconds, the difference and the rate. The pods are then left alone with an HTTP
probe every ten seconds each, and the CPU and memory of the process at rest are printed: the kubelet
and this script, without a proxy or DNS. It asserts nothing.
"""

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "cluster"))

from kubelet_lab import BUSYBOX, STAY, Lab, open_lab, shell

from harness import pss_mb
from kybern.kubelet.cri.client import cri
from kybern.kubelet.pods.killing import remove_pod
from kybern.kubelet.pods.starting import make_sandbox_config

PROBE_SECONDS = 10
REST_SECONDS = 30


async def floor(lab: Lab) -> float:
    """Seconds for a sandbox and a container by the runtime alone."""
    pod = lab.pod(shell(STAY))
    runtime = lab.parts.runtime
    lab.parts.paths.logs(pod).mkdir(parents=True)
    await lab.parts.cgroups.create(pod)
    begun = time.perf_counter()
    config = make_sandbox_config(pod, lab.parts, 0)
    sandbox = await runtime.run_sandbox(config)
    container = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="main"),
        image=cri.ImageSpec(image=BUSYBOX),
        command=["sh", "-c", STAY],
        log_path="main.log",
    )
    await runtime.start_container(await runtime.create_container(sandbox, container, config))
    taken = time.perf_counter() - begun
    await remove_pod(await lab.parts.reader.pod(pod["metadata"]["uid"]), lab.parts)
    lab.workers.adopt_orphans([pod["metadata"]["uid"]])
    worker = lab.workers.get(pod["metadata"]["uid"])
    assert worker is not None
    await worker.done()
    return taken


async def by_kubelet(lab: Lab) -> float:
    """Seconds from a pod's arrival to its status being Ready."""
    begun = time.perf_counter()
    pod = lab.run(lab.pod(shell(STAY)))
    await ready(lab, pod)
    taken = time.perf_counter() - begun
    await lab.gone(pod)
    return taken


def probed() -> dict[str, Any]:
    """A container that answers HTTP, and is asked."""
    answer = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'"
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": PROBE_SECONDS}
    return shell(f'exec nc -ll -p 8080 -e sh -c "{answer}"', livenessProbe=probe)


async def ready(lab: Lab, pod: dict[str, Any]) -> None:
    while lab.condition(pod, "Ready") != "True":
        await asyncio.sleep(0.001)


async def main(count: int) -> None:
    async with open_lab() as lab:
        floors, kubelets = [], []
        for _ in range(count):
            floors.append(await floor(lab))
            kubelets.append(await by_kubelet(lab))
        bare, full = (statistics.median(times) * 1000 for times in (floors, kubelets))
        print(f"runtime alone        {bare:7.1f} ms")
        print(f"by the kubelet       {full:7.1f} ms")
        print(f"added                {full - bare:7.1f} ms")
        spent, begun = time.process_time(), time.perf_counter()
        pods = [lab.run(lab.pod(probed())) for _ in range(count)]
        await asyncio.gather(*(ready(lab, pod) for pod in pods))
        taken = time.perf_counter() - begun
        cpu = (time.process_time() - spent) / count * 1000
        print(f"{count} at once          {count / taken:7.1f} pods/s, {cpu:.1f} ms of CPU a pod")
        await asyncio.sleep(PROBE_SECONDS)
        spent = time.process_time()
        await asyncio.sleep(REST_SECONDS)
        share = (time.process_time() - spent) / REST_SECONDS * 100
        print(f"at rest              {share:7.1f} % of a core, {pss_mb([os.getpid()]):.0f} MB")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
