"""Pods that have to go for the node's sake, and images that nobody needs, on a real containerd."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import BUSYBOX, SECONDS, STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab

from kybern.component.clock import Clock
from kybern.kubelet.bounds import Limits
from kybern.kubelet.eviction.alarm import MemoryAlarm
from kybern.kubelet.eviction.manager import EvictionManager
from kybern.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    MEMORY,
    NODE_FS,
    Observation,
    parse_thresholds,
)
from kybern.kubelet.guards import Guards
from kybern.kubelet.images.archive import Entry, Image, build, import_archive
from kybern.kubelet.images.garbage import ImageCollector, Policy
from kybern.kubelet.images.pause import REFERENCE as PAUSE
from kybern.kubelet.node.enforcement import bounds_of_all_pods, enforce
from kybern.kubelet.node.machine import read_machine
from kybern.kubelet.shutdown import Period, Shutdown

pytestmark = [needs_containerd, pytest.mark.asyncio(loop_scope="module")]

Obj = dict[str, Any]
EVERYTHING = "1000Ti"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as opened:
        yield opened


def manager(lab: Lab, reclaimed: list[str] | None = None, **hard: str) -> EvictionManager:
    async def reclaim() -> None:
        if reclaimed is not None:
            reclaimed.append("reclaimed")

    thresholds = parse_thresholds(hard, {}, {}, {})
    made = EvictionManager(lab.parts, lab.workers, thresholds, 300.0, 0, reclaim)
    lab.parts.admission.judges[:] = [made.judge]
    return made


async def test_an_empty_dir_above_its_limit_ends_the_pod(lab: Lab) -> None:
    mount = [{"name": "v", "mountPath": "/data"}]
    script = f"head -c 3000000 /dev/zero > /data/file; echo written; {STAY}"
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
    pod = lab.run(lab.pod(shell(script, volumeMounts=mount), volumes=[volume]))
    small = lab.run(lab.pod(shell(STAY), volumes=[volume]))
    await lab.until_ready(pod)
    await lab.until_ready(small)
    await until(lambda: lab.log(pod) == "written\n", "the file")
    evictions = manager(lab)
    assert await evictions.look() == [pod["metadata"]["uid"]]
    status = await lab.until_phase(pod, "Failed")
    text = 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert (status["reason"], status["message"]) == ("Evicted", text)
    assert lab.events.messages(pod["metadata"]["name"], "Evicted") == [text]
    worker = lab.workers.get(pod["metadata"]["uid"])
    assert worker is not None
    await until(lambda: worker.terminated, "the pod's end")
    assert await evictions.look() == []
    await lab.gone(pod)
    await lab.gone(small)


async def test_short_memory_ends_the_pod_above_its_request(lab: Lab) -> None:
    def asking(memory: str, **fields: Any) -> Obj:
        return lab.pod(shell(STAY, resources={"requests": {"memory": memory}}), **fields)

    critical = lab.run(lab.pod(shell(STAY), priority=2_000_000_000))
    modest = lab.run(asking("500Mi"))
    greedy = lab.run(asking("1Ki"))
    for pod in (critical, modest, greedy):
        await lab.until_ready(pod)
    evictions = manager(lab, **{MEMORY: EVERYTHING})
    assert await evictions.look() == [greedy["metadata"]["uid"]]
    assert evictions.conditions == ("MemoryPressure",)
    status = await lab.until_phase(greedy, "Failed")
    assert status["message"].startswith(
        f"The node was low on resource: memory. Threshold quantity: {EVERYTHING}, available: "
    )
    assert "Container main was using " in status["message"]
    target = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    refused = lab.run(lab.pod(shell(STAY)))
    status = await lab.until_phase(refused, "Failed")
    assert (status["reason"], status["message"]) == (
        "Evicted",
        "Pod was rejected: The node had condition: [MemoryPressure]. ",
    )
    worker = lab.workers.get(greedy["metadata"]["uid"])
    assert worker is not None
    await until(lambda: worker.terminated, "the pod's end")
    assert await evictions.look() == [modest["metadata"]["uid"]]
    await lab.until_phase(modest, "Failed")
    assert await evictions.look() == []
    assert lab.status_of(critical)["phase"] == "Running"
    lab.parts.admission.judges.clear()
    for pod in (critical, modest, greedy, refused):
        await lab.gone(pod)


async def test_what_nobody_needs_goes_before_a_pod(lab: Lab) -> None:
    reclaimed: list[str] = []
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    evictions = manager(lab, reclaimed, **{NODE_FS: "10Gi"})
    left = [Observation(1, 2**40), Observation(2**39, 2**40)]

    async def observe() -> dict[str, Observation]:
        return {NODE_FS: left.pop(0)}

    evictions.observe = observe
    assert await evictions.look() == []
    assert reclaimed == ["reclaimed"]
    assert evictions.conditions == ("DiskPressure",)
    assert lab.status_of(pod)["phase"] == "Running"
    assert lab.events.messages("lab", "EvictionThresholdMet") == [
        "Attempting to reclaim memory",
        "Attempting to reclaim memory",
        "Attempting to reclaim memory",
        "Attempting to reclaim ephemeral-storage",
    ]
    lab.parts.admission.judges.clear()
    await lab.gone(pod)


async def test_unused_images_are_removed_when_their_disk_is_full(lab: Lab) -> None:
    unused = "kybern.test/unused:1"
    archive = build(Image(unused, [Entry("file", b"x" * 5000)], command=["/file"]))
    await import_archive(str(lab.containerd.socket), archive)
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    warnings: list[tuple[str, str]] = []
    disk = Observation(50, 100)

    async def full() -> Observation:
        return disk

    def collector(age: float) -> ImageCollector:
        return ImageCollector(
            lab.parts.runtime,
            lab.clock,
            Policy(85, 80, age),
            (PAUSE,),
            lab.parts.volumes.images_in_use,
            full,
            lambda *warning: warnings.append(warning),
            lab.parts.puller.records.keep_only,
        )

    async def present() -> bool:
        return await lab.parts.runtime.image(unused) is not None

    await until(present, "the image")
    await collector(0.0).collect()
    assert await present()
    disk = Observation(10, 100)
    await collector(120.0).collect()
    assert await present()
    await collector(0.0).collect()
    assert not await present()
    for kept in (PAUSE, BUSYBOX):
        assert await lab.parts.runtime.image(kept) is not None
    assert [reason for reason, _ in warnings] == ["FreeDiskSpaceFailed"]
    assert "(90% of 100 B used)" in warnings[0][1]
    await lab.gone(pod)


class LaterClock(Clock):
    """A clock that the test moves on."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_images_that_nobody_used_for_long_are_removed(lab: Lab) -> None:
    old = "kybern.test/old:1"
    archive = build(Image(old, [Entry("file", b"x")], command=["/file"]))
    await import_archive(str(lab.containerd.socket), archive)
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    clock = LaterClock()

    async def empty() -> Observation:
        return Observation(100, 100)

    collector = ImageCollector(
        lab.parts.runtime,
        clock,
        Policy(longest_age=3600.0),
        (PAUSE,),
        lab.parts.volumes.images_in_use,
        empty,
        lambda *warning: None,
        lab.parts.puller.records.keep_only,
    )

    async def present() -> bool:
        return await lab.parts.runtime.image(old) is not None

    await until(present, "the image")
    await collector.look()
    clock.ahead = 3000.0
    await collector.collect()
    assert await present()
    clock.ahead = 3700.0
    await collector.collect()
    assert not await present()
    for kept in (PAUSE, BUSYBOX):
        assert await lab.parts.runtime.image(kept) is not None
    await lab.gone(pod)


async def test_pods_end_in_order_before_the_machine_does(lab: Lab) -> None:
    slow = "trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.1; done"
    ordinary = lab.run(lab.pod(shell(slow), terminationGracePeriodSeconds=30))
    critical = lab.run(lab.pod(shell(STAY), priority=2_000_000_000))
    await lab.until_ready(ordinary)
    await lab.until_ready(critical)
    periods = [Period(0, 15.0), Period(2_000_000_000, 5.0)]
    told: list[str] = []
    shutdown = Shutdown(
        lab.workers, periods, lambda reason, message: told.append(message), lambda: None
    )
    lab.parts.admission.judges[:] = [shutdown.judge]
    waiting = asyncio.create_task(shutdown.run())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGPWR)
    await lab.until_phase(ordinary, "Failed")
    assert lab.status_of(critical)["phase"] == "Running"
    late = lab.run(lab.pod(shell(STAY)))
    assert (await lab.until_phase(late, "Failed"))["reason"] == "NodeShutdown"
    status = await lab.until_phase(critical, "Failed")
    ended = [pod["metadata"]["uid"] for pod in (ordinary, critical)]
    assert await lab.workers.until_ended(ended, 30.0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert told == ["Shutdown manager detected shutdown event"]
    assert (status["reason"], status["message"]) == (
        "Terminated",
        "Pod was terminated in response to imminent node shutdown.",
    )
    ends = [lab.container(pod)["state"]["terminated"]["finishedAt"] for pod in (ordinary, critical)]
    assert ends == sorted(ends)
    assert shutdown.problem == "node is shutting down"
    lab.parts.admission.judges.clear()
    for pod in (ordinary, critical, late):
        await lab.gone(pod)


async def test_pods_are_held_to_what_the_node_offers_them(lab: Lab) -> None:
    config = replace(lab.config, kube_reserved=("cpu=500m", "memory=1Gi"))
    machine = await asyncio.to_thread(read_machine, lab.parts.paths.root)
    bounds = bounds_of_all_pods(machine, config)
    await enforce(bounds, lab.parts.cgroups, lab.parts.facts, lab.events)
    assert lab.events.reasons("lab")[-1] == "NodeAllocatableEnforced"
    pod = lab.run(lab.pod(shell(STAY)))
    await lab.until_ready(pod)
    found = lab.parts.cgroups.memory_of_all()
    assert found is not None
    assert found[0] == machine.memory_bytes - 1024**3
    assert 0 < found[1] < found[0]
    evictions = manager(lab, **{ALLOCATABLE_MEMORY: EVERYTHING})
    assert await evictions.look() == [pod["metadata"]["uid"]]
    assert evictions.conditions == ("MemoryPressure",)
    status = await lab.until_phase(pod, "Failed")
    assert status["message"].startswith("The node was low on resource: memory. Threshold quantity")
    await lab.gone(pod)


async def test_the_kernel_calls_between_looks(lab: Lab) -> None:
    if lab.parts.cgroups.unified:
        pytest.skip("only cgroup version 1 tells when a bound is passed")
    await lab.parts.cgroups.bound_all(Limits(1024, None, 400 * 1024**2))
    evictions = manager(lab, **{ALLOCATABLE_MEMORY: "350Mi"})
    evictions.alarm = alarm = MemoryAlarm(lab.parts.cgroups)
    held = "head -c 100000000 /dev/zero | tail -c 100000000 | sleep 1000"
    pod = lab.run(lab.pod(shell(f"until [ -e /go ]; do sleep 0.05; done; {held}")))
    await lab.until_ready(pod)
    try:
        assert await evictions.look() == []
        called = asyncio.create_task(alarm.wait(2 * SECONDS))
        await lab.exec(pod, "touch", "/go")
        async with asyncio.timeout(SECONDS):
            await called
        assert await evictions.look() == [pod["metadata"]["uid"]]
    finally:
        alarm.close()
    status = await lab.until_phase(pod, "Failed")
    assert status["reason"] == "Evicted"
    await lab.gone(pod)


async def test_a_critical_pod_pushes_out_who_gives_enough_room(lab: Lab) -> None:
    def asking(cpu: str, **fields: Any) -> Obj:
        return lab.run(lab.pod(shell(STAY, resources={"requests": {"cpu": cpu}}), **fields))

    registration: Any = SimpleNamespace(wake=lambda: None)
    Guards(lab.parts, lab.workers, registration, lab.config)
    lab.parts.facts.allocatable = {"cpu": "2", "memory": "1Gi"}
    small, large = asking("400m"), asking("1200m")
    for pod in (small, large):
        await lab.until_ready(pod)
    ordinary = asking("1")
    await lab.until_phase(ordinary, "Failed")
    critical = asking("1", priority=2_000_000_000)
    await lab.until_ready(critical)
    status = await lab.until_phase(large, "Failed")
    text = "Preempted in order to admit critical pod"
    assert (status["reason"], status["message"]) == ("Preempting", text)
    condition = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
    assert (condition["reason"], condition["message"]) == (
        "TerminationByKubelet",
        "Pod was preempted by Kubelet to accommodate a critical pod.",
    )
    assert lab.events.messages(large["metadata"]["name"], "Preempting") == [text]
    assert lab.condition(small, "Ready") == "True"
    hopeless = asking("4", priority=2_000_000_000)
    status = await lab.until_phase(hopeless, "Failed")
    assert (status["reason"], status["message"]) == (
        "UnexpectedAdmissionError",
        "Pod was rejected: Unexpected error while attempting to recover from admission failure: "
        "preemption: error finding a set of pods to preempt: "
        "no set of running pods found to reclaim resources: [(res: cpu, q: 3000), ]",
    )
    for pod in (small, large, ordinary, critical, hopeless):
        await lab.gone(pod)
