"""CPUs and memory of one NUMA node, on a real containerd and real cgroups.

On a machine of one node this shows that the kernel takes what it is told.
"""

import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell
from kubelet_lab import Lab, open_lab

from kybern.kubelet.cpus.cpuset import parse
from kybern.kubelet.cpus.topology import read_topology

pytestmark = [
    needs_containerd,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.cpu_count() != len(os.sched_getaffinity(0)) or (os.cpu_count() or 1) < 2,
        reason="exclusive CPUs need a machine of two or more, all of them ours",
    ),
]

Obj = dict[str, Any]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        cpu_manager_policy="static",
        system_reserved=("cpu=500m",),
        memory_manager_policy="Static",
        eviction_hard=("memory.available<64Mi",),
        reserved_memory=("0:memory=64Mi",),
        topology_manager_policy="single-numa-node",
    ) as opened:
        yield opened


def sized(cpu: str) -> Obj:
    amounts = {"cpu": cpu, "memory": "32Mi"}
    return shell(STAY, resources={"requests": amounts, "limits": amounts})


async def allowed(lab: Lab, pod: Obj) -> tuple[str, str]:
    """The CPUs and the memory nodes that the kernel lets a container use."""
    status = await lab.exec(pod, "cat", "/proc/1/status", name="main")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return found["Cpus_allowed_list"], found["Mems_allowed_list"]


async def test_a_guaranteed_pod_has_its_cpu_and_memory_on_one_node(lab: Lab) -> None:
    pod = lab.run(lab.pod(sized("1")))
    await lab.until_ready(pod)
    cpus, nodes = await allowed(lab, pod)
    (cpu,) = parse(cpus)
    assert nodes == str(read_topology().places[cpu].numa)
    uid = pod["metadata"]["uid"]
    file = lab.directory / "kubelet" / "memory_manager_state"
    (block,) = orjson.loads(file.read_bytes())["entries"][uid]["main"]
    assert block == {"numaAffinity": [int(nodes)], "type": "memory", "size": 32 * 1024 * 1024}

    await lab.crash()
    lab.begin()
    lab.run(pod)
    await lab.until_ready(pod)
    assert lab.container(pod)["restartCount"] == 0
    assert await allowed(lab, pod) == (cpus, nodes)
    await lab.gone(pod)
    assert "entries" not in orjson.loads(file.read_bytes())


async def test_what_no_node_has_is_refused(lab: Lab) -> None:
    count = os.cpu_count() or 1
    lab.parts.facts.allocatable = {"cpu": str(count), "memory": "1Gi"}
    pod = lab.run(lab.pod(sized(str(count))))
    status = await lab.until_phase(pod, "Failed")
    assert status["reason"] == "TopologyAffinityError"
    assert status["message"] == (
        "Pod was rejected: Resources cannot be allocated with Topology locality"
    )
    await lab.gone(pod)
