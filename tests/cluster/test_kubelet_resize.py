"""Pods that change their size while they run, on a real containerd and real cgroups."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

from kybern.kubelet.bounds import Bounds

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

Obj = dict[str, Any]
MEBI = 1024 * 1024


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        yield opened


def sized(cpu: str, memory: str, script: str = STAY, **fields: Any) -> Obj:
    amounts = {"cpu": cpu, "memory": memory}
    return shell(script, resources={"requests": amounts, "limits": amounts}, **fields)


def held(lab: Lab, pod: Obj) -> Bounds:
    """What the kernel holds of the pod's container."""
    identity = lab.container(pod)["containerID"].partition("://")[2]
    found = lab.parts.cgroups.container_bounds(pod["metadata"]["uid"], identity)
    assert found is not None
    return found


def stage(lab: Lab, pod: Obj, kind: str) -> Obj:
    conditions = lab.status_of(pod).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {})


def shown(lab: Lab, pod: Obj) -> Obj:
    return lab.container(pod).get("resources") or {}


async def test_a_container_grows_and_shrinks_without_a_restart(lab: Lab) -> None:
    pod = lab.run(lab.pod(sized("100m", "32Mi")))
    await lab.until_ready(pod)
    name, before = pod["metadata"]["name"], lab.container(pod)["containerID"]
    assert (held(lab, pod).milli_cpu_limit, held(lab, pod).memory) == (100, 32 * MEBI)
    for cpu, memory in (("250m", 64), ("50m", 48)):
        wanted = {"cpu": cpu, "memory": f"{memory}Mi"}
        lab.change(pod, containers=[sized(cpu, f"{memory}Mi")])
        await until(lambda w=wanted: shown(lab, pod).get("limits") == w, f"{cpu} {memory}Mi")
        await until(lambda: not stage(lab, pod, "PodResizeInProgress"), "the end of the resize")
        assert held(lab, pod).milli_cpu_limit == int(cpu.removesuffix("m"))
        assert held(lab, pod).memory == memory * MEBI
        whole = lab.parts.cgroups.pod_bounds(pod)
        assert whole is not None
        assert (whole.milli_cpu_limit, whole.memory) == (int(cpu[:-1]), memory * MEBI)
        assert lab.container(pod)["allocatedResources"] == wanted
        assert lab.status_of(pod)["resources"]["limits"] == wanted
    assert lab.container(pod)["containerID"] == before
    assert lab.container(pod)["restartCount"] == 0
    assert lab.status_of(pod)["qosClass"] == "Guaranteed"
    assert lab.status_of(pod)["observedGeneration"] == 3
    assert lab.events.reasons(name).count("ResizeStarted") == 2
    assert lab.events.reasons(name).count("ResizeCompleted") == 2
    await lab.gone(pod)


async def test_a_resize_policy_restarts_the_container(lab: Lab) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    pod = lab.run(lab.pod(sized("100m", "32Mi", resizePolicy=policy)))
    await lab.until_ready(pod)
    lab.change(pod, containers=[sized("200m", "32Mi", resizePolicy=policy)])
    await until(lambda: held(lab, pod).milli_cpu_limit == 200, "more CPU in place")
    assert lab.container(pod)["restartCount"] == 0
    lab.change(pod, containers=[sized("200m", "40Mi", resizePolicy=policy)])
    await until(lambda: lab.container(pod)["restartCount"] == 1, "a restart")
    await lab.until_ready(pod)
    assert held(lab, pod).memory == 40 * MEBI
    killing = lab.events.messages(pod["metadata"]["name"], "Killing")
    assert killing == ["Container main resize requires restart"]
    await lab.gone(pod)


async def test_a_resize_that_does_not_fit_waits_until_it_does(lab: Lab) -> None:
    large = lab.run(lab.pod(sized("1500m", "32Mi")))
    small = lab.run(lab.pod(sized("100m", "32Mi")))
    await lab.until_ready(large)
    await lab.until_ready(small)
    lab.change(small, containers=[sized("600m", "32Mi")])
    await until(lambda: stage(lab, small, "PodResizePending"), "the condition")
    pending = stage(lab, small, "PodResizePending")
    assert (pending["reason"], pending["observedGeneration"]) == ("Deferred", 2)
    assert pending["message"] == (
        "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"
    )
    assert lab.container(small)["allocatedResources"]["cpu"] == "100m"
    assert held(lab, small).milli_cpu_limit == 100
    assert "ResizeDeferred" in lab.events.reasons(small["metadata"]["name"])
    await lab.crash()
    lab.begin()
    for pod in (small, large):
        lab.run(pod)
    lab.change(small, containers=[sized("600m", "32Mi")])
    await until(lambda: stage(lab, small, "PodResizePending"), "the condition, after a restart")
    assert held(lab, small).milli_cpu_limit == 100
    await lab.gone(large)
    await until(lambda: held(lab, small).milli_cpu_limit == 600, "the room that was given back")
    await until(lambda: not stage(lab, small, "PodResizePending"), "the condition's end")
    assert lab.container(small)["restartCount"] == 0
    await lab.gone(small)


async def test_a_memory_limit_below_what_is_used_is_not_set(lab: Lab) -> None:
    script = f"head -c 30000000 /dev/zero | tail -c 30000000 > /dev/shm/held; {STAY}"
    pod = lab.run(lab.pod(sized("100m", "128Mi", script)))
    await lab.until_ready(pod)
    await until(lambda: held(lab, pod).memory_used > 28 * MEBI, "memory in use")
    lab.change(pod, containers=[sized("100m", "16Mi", script)])
    await until(lambda: stage(lab, pod, "PodResizeInProgress").get("reason") == "Error", "an error")
    message = stage(lab, pod, "PodResizeInProgress")["message"]
    assert message.startswith("cannot decrease memory limits: [attempting to set pod memory limit")
    assert held(lab, pod).memory == 128 * MEBI
    assert shown(lab, pod)["limits"]["memory"] == "128Mi"
    assert lab.container(pod)["allocatedResources"]["memory"] == "16Mi"
    lab.change(pod, containers=[sized("100m", "96Mi", script)])
    await until(lambda: held(lab, pod).memory == 96 * MEBI, "a limit that holds what is used")
    await until(lambda: not stage(lab, pod, "PodResizeInProgress"), "the end of the resize")
    await lab.gone(pod)


async def test_limits_of_the_pod_itself_bound_and_resize_it(lab: Lab) -> None:
    def limits(memory: str) -> Obj:
        amounts = {"cpu": "200m", "memory": memory}
        return {"requests": amounts, "limits": amounts}

    pod = lab.run(lab.pod(shell(STAY), resources=limits("48Mi")))
    await lab.until_ready(pod)
    assert held(lab, pod).memory == 48 * MEBI
    lab.change(pod, resources=limits("64Mi"))
    await until(lambda: held(lab, pod).memory == 64 * MEBI, "the container's share of it")
    whole = lab.parts.cgroups.pod_bounds(pod)
    assert whole is not None
    assert whole.memory == 64 * MEBI
    await until(lambda: lab.status_of(pod)["resources"] == limits("64Mi"), "the status")
    assert lab.container(pod)["restartCount"] == 0
    await lab.gone(pod)


async def test_a_pod_past_the_scheduler_is_refused_where_it_does_not_fit(lab: Lab) -> None:
    port = [{"containerPort": 80, "hostPort": 18080}]
    first = lab.run(lab.pod(shell(STAY, ports=port)))
    await lab.until_ready(first)
    second = lab.run(lab.pod(shell(STAY, ports=port)))
    status = await lab.until_phase(second, "Failed")
    text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    assert (status["reason"], status["message"]) == ("NodePorts", f"Pod was rejected: {text}")
    assert lab.events.messages(second["metadata"]["name"], "NodePorts") == [text]
    huge = lab.run(lab.pod(sized("3", "32Mi")))
    status = await lab.until_phase(huge, "Failed")
    assert status["reason"] == "OutOfcpu"
    assert not (await lab.parts.reader.pod(huge["metadata"]["uid"])).sandboxes
    for pod in (first, second, huge):
        await lab.gone(pod)
    again = lab.run(lab.pod(shell(STAY, ports=port)))
    await lab.until_ready(again)
    await lab.gone(again)
