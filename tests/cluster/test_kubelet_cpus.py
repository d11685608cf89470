"""Containers that have CPUs to themselves, on a real containerd and real cgroups."""

import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

from kybern.kubelet.cpus.cpuset import parse, shown

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
        cpu_manager_reconcile_period=0.2,
    ) as opened:
        yield opened


def sized(cpu: str, memory: str = "32Mi", **fields: Any) -> Obj:
    amounts = {"cpu": cpu, "memory": memory}
    return shell(STAY, resources={"requests": amounts, "limits": amounts}, **fields)


async def allowed(lab: Lab, pod: Obj, name: str = "main") -> str:
    """The CPUs that the kernel lets a container run on."""
    status = await lab.exec(pod, "cat", "/proc/1/status", name=name)
    line = next(each for each in status.splitlines() if each.startswith("Cpus_allowed_list"))
    return line.split()[1]


async def until_allowed(lab: Lab, pod: Obj, cpus: str) -> None:
    async def are() -> bool:
        return await allowed(lab, pod) == cpus

    await until(are, f"{pod['metadata']['name']} runs on {cpus}")


async def test_a_guaranteed_pod_has_its_cpu_to_itself(lab: Lab) -> None:
    everything = shown(range(os.cpu_count() or 1))
    sharing = lab.run(lab.pod(sized("100m")))
    await lab.until_ready(sharing)
    assert await allowed(lab, sharing) == everything

    exclusive = lab.run(lab.pod(sized("1")))
    await lab.until_ready(exclusive)
    mine = await allowed(lab, exclusive)
    assert mine == lab.parts.cpus.cpuset(exclusive["metadata"]["uid"], "main")
    assert len(parse(mine)) == 1
    rest = shown(parse(everything) - parse(mine))
    await until_allowed(lab, sharing, rest)
    late = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(late)
    assert await allowed(lab, late) == rest

    identity = lab.container(exclusive)["containerID"].partition("://")[2]
    bounds = lab.parts.cgroups.container_bounds(exclusive["metadata"]["uid"], identity)
    assert bounds is not None
    assert (bounds.quota, bounds.memory) == (None, 32 * 1024 * 1024)
    whole = lab.parts.cgroups.pod_bounds(exclusive)
    assert whole is not None
    assert whole.quota is None
    assert lab.status_of(exclusive)["resources"]["limits"]["cpu"] == "1"
    assert lab.container(exclusive)["resources"]["limits"]["cpu"] == "1"
    moved = lab.container(sharing)["containerID"].partition("://")[2]
    kept = lab.parts.cgroups.container_bounds(sharing["metadata"]["uid"], moved)
    assert kept is not None
    assert (kept.milli_cpu_limit, kept.memory) == (100, 32 * 1024 * 1024)

    file = lab.directory / "kubelet" / "cpu_manager_state"
    entries = orjson.loads(file.read_bytes())["entries"]
    assert entries == {exclusive["metadata"]["uid"]: {"main": mine}}

    await lab.crash()
    lab.begin()
    for pod in (sharing, exclusive, late):
        lab.run(pod)
    await lab.until_ready(exclusive)
    assert lab.container(exclusive)["restartCount"] == 0
    assert await allowed(lab, exclusive) == mine

    lab.change(exclusive, containers=[sized("2")])
    await until(
        lambda: "ResizeInfeasible" in lab.events.reasons(exclusive["metadata"]["name"]),
        "the resize is infeasible",
    )
    await lab.gone(exclusive)
    await until_allowed(lab, sharing, everything)
    assert "entries" not in orjson.loads(file.read_bytes())
    for pod in (sharing, late):
        await lab.gone(pod)


async def test_cpus_that_are_not_left_refuse_a_pod(lab: Lab) -> None:
    count = os.cpu_count() or 1
    lab.parts.facts.allocatable = {"cpu": str(count), "memory": "1Gi"}
    pod = lab.run(lab.pod(sized(str(count))))
    status = await lab.until_phase(pod, "Failed")
    assert status["reason"] == "UnexpectedAdmissionError"
    assert status["message"] == (
        "Pod was rejected: Allocate failed due to not enough cpus available to satisfy request: "
        f"requested={count}, available={count - 1}, which is unexpected"
    )
    await lab.gone(pod)


async def test_init_containers_hand_their_cpu_on(lab: Lab) -> None:
    amounts = {"cpu": "1", "memory": "32Mi"}
    asking = {"requests": amounts, "limits": amounts}
    first = shell("grep Cpus_allowed_list /proc/self/status", name="first", resources=asking)
    pod = lab.run(lab.pod(sized("1"), initContainers=[first]))
    await lab.until_ready(pod)
    mine = await allowed(lab, pod)
    assert lab.log(pod, "first").split()[1] == mine
    assert len(parse(mine)) == 1
    await lab.gone(pod)
