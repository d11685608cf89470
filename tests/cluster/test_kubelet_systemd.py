"""The cgroup driver systemd, with a real systemd, containerd and runc.

Needs systemd as process 1, as most machines have it, and cgroup version 2: bin/guest has both.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from containerd_lab import STAY, needs_containerd, shell, until
from kubelet_lab import Lab, open_lab
from node_process import NODE, NodeProcess, open_node_process

from kybern.api import objects
from kybern.api.resources import NODES, PODS
from kybern.kubelet.bounds import Bounds
from kybern.kubelet.cpus.cpuset import Cpus, parse

Obj = dict[str, Any]
MOUNT = Path("/sys/fs/cgroup")
MEBI = 1024 * 1024

pytestmark = [
    needs_containerd,
    pytest.mark.skipif(
        not Path("/run/systemd/system").is_dir() or not (MOUNT / "cgroup.controllers").exists(),
        reason="systemd is not process 1, or cgroups are not of version 2: bin/guest has both",
    ),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab(
        cgroup_driver="systemd",
        pod_max_pids=100,
        cpu_manager_policy="static",
        system_reserved=("cpu=500m",),
        cpu_manager_reconcile_period=0.2,
    ) as opened:
        yield opened
    assert units(opened.config.cgroup_root) == []


def units(root: str) -> list[str]:
    """All that systemd knows of a node's pods, whatever has become of it."""
    mark = root.replace("-", "_")
    command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", f"{mark}*", "cri-*"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files = [str(path) for path in Path("/run/systemd").glob(f"*/{mark}*")]
    return [*listed.splitlines(), *files, *map(str, MOUNT.glob(f"{mark}*"))]


def systemd_says(path: str, *names: str) -> list[str]:
    """Properties of the unit whose cgroup this is; what is not limited is "infinity"."""
    command = ["systemctl", "show", Path(path).name, *(f"--property={name}" for name in names)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = dict(line.split("=", 1) for line in shown.splitlines())
    return [pairs[name] for name in names]


async def reload() -> None:
    """Have systemd read all units anew, and set what it knows of them."""
    await asyncio.to_thread(subprocess.run, ["systemctl", "daemon-reload"], check=True)


def sized(cpu: str, memory: str, script: str = STAY) -> Obj:
    amounts = {"cpu": cpu, "memory": memory}
    return shell(script, resources={"requests": amounts, "limits": amounts})


def limited(cpu: str, memory: str) -> Obj:
    """A container of a pod that is not Guaranteed: those keep their CPUs."""
    limits = {"cpu": cpu, "memory": memory}
    return shell(STAY, resources={"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": limits})


def identity(lab: Lab, pod: Obj) -> str:
    return lab.container(pod)["containerID"].partition("://")[2]


def held(lab: Lab, pod: Obj) -> tuple[Bounds, Bounds]:
    """What the kernel holds of a pod and of its container."""
    whole = lab.parts.cgroups.pod_bounds(pod)
    part = lab.parts.cgroups.container_bounds(pod["metadata"]["uid"], identity(lab, pod))
    assert whole is not None
    assert part is not None
    return whole, part


async def test_pods_of_every_class_run_in_slices_that_systemd_keeps(lab: Lab) -> None:
    guaranteed = lab.run(lab.pod(sized("200m", "64Mi")))
    burstable = lab.run(lab.pod(shell(STAY, resources={"requests": {"cpu": "500m"}})))
    idle = lab.run(lab.pod(shell(STAY)))
    pods = {"": guaranteed, "burstable": burstable, "besteffort": idle}
    root = lab.config.cgroup_root.replace("-", "_")
    for qos, pod in pods.items():
        await lab.until_ready(pod)
        name = f"{root}-kubepods-{qos}".rstrip("-")
        above = f"{root}.slice/{root}-kubepods.slice/" + (f"{name}.slice/" if qos else "")
        uid = pod["metadata"]["uid"].replace("-", "_")
        scope = f"{name}-pod{uid}.slice/cri-containerd-{identity(lab, pod)}.scope"
        assert (MOUNT / above / scope / "cgroup.procs").read_text()
    before = [held(lab, pod) for pod in pods.values()]
    assert (before[0][0].milli_cpu_limit, before[0][0].memory) == (200, 64 * MEBI)
    assert (before[0][1].milli_cpu_limit, before[0][1].memory) == (200, 64 * MEBI)
    path = lab.parts.cgroups.parent(guaranteed)
    names = ("MemoryMax", "CPUWeight", "TasksMax")
    assert systemd_says(path, *names) == [
        str(number) for number in (64 * MEBI, before[0][0].weight, 100)
    ]
    assert systemd_says(str(Path(lab.parts.cgroups.parent(burstable)).parent), "CPUWeight") == [
        "20"
    ]
    assert systemd_says(str(Path(lab.parts.cgroups.parent(idle)).parent), "CPUWeight") == ["1"]
    await reload()
    now = [held(lab, pod) for pod in pods.values()]
    assert [limits(pair) for pair in now] == [limits(pair) for pair in before]
    assert (MOUNT / path.lstrip("/") / "pids.max").read_text() == "100\n"
    usage = lab.parts.cgroups.usage(guaranteed)
    assert usage is not None
    assert usage.cpu > 0 and usage.processes >= 2
    assert identity(lab, idle) in lab.parts.cgroups.pressure(idle)
    for pod in pods.values():
        await lab.gone(pod)
        assert not [unit for unit in units(root) if pod["metadata"]["uid"][:8] in unit]


def limits(pair: tuple[Bounds, Bounds]) -> list[tuple[int, int | None, int | None]]:
    return [(bounds.weight, bounds.quota, bounds.memory) for bounds in pair]


async def test_a_resize_outlasts_a_reload(lab: Lab) -> None:
    pod = lab.run(lab.pod(limited("100m", "32Mi")))
    await lab.until_ready(pod)
    before = identity(lab, pod)
    for cpu, memory, percents in (("255m", 64, 26), ("50m", 48, 5)):
        wanted = {"cpu": cpu, "memory": f"{memory}Mi"}
        lab.change(pod, containers=[limited(cpu, f"{memory}Mi")])
        await until(
            lambda w=wanted: (
                lab.status_of(pod).get("resources", {}).get("limits") == w
                and (lab.container(pod).get("resources") or {}).get("limits") == w
            ),
            f"{cpu} {memory}Mi",
        )
        await reload()
        for bounds in held(lab, pod):
            # A unit file has no fractions of a percent.
            assert (bounds.quota, bounds.memory) == (1000 * percents, memory * MEBI)
    name = pod["metadata"]["name"]
    assert lab.events.reasons(name).count("ResizeCompleted") == 2
    assert (identity(lab, pod), lab.container(pod)["restartCount"]) == (before, 0)
    await lab.gone(pod)


async def cpus_of(lab: Lab, pod: Obj) -> Cpus:
    """The CPUs that the kernel lets a pod's container run on."""
    line = await lab.exec(pod, "grep", "Cpus_allowed_list", "/proc/1/status")
    return parse(line.split()[1])


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a CPU of one's own needs another")
async def test_cpus_of_its_own_outlast_a_reload(lab: Lab) -> None:
    sharing = lab.run(lab.pod(sized("100m", "32Mi")))
    exclusive = lab.run(lab.pod(sized("1", "32Mi")))
    for pod in (sharing, exclusive):
        await lab.until_ready(pod)
    mine = await cpus_of(lab, exclusive)
    assert len(mine) == 1

    async def apart() -> bool:
        return not mine & await cpus_of(lab, sharing)

    await until(apart, "the other pod runs on other CPUs")
    await reload()
    assert await cpus_of(lab, exclusive) == mine
    assert await apart()
    for pod in (sharing, exclusive):
        await lab.gone(pod)


async def test_a_container_out_of_memory_says_so_and_leaves_no_failed_unit(lab: Lab) -> None:
    hungry = sized("100m", "16Mi", "(x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x})")
    pod = lab.run(lab.pod(hungry, restartPolicy="Never"))
    await lab.until_phase(pod, "Failed")
    ended = lab.container(pod)["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    await lab.gone(pod)


async def test_the_next_kubelet_adopts_pods_and_ends_orphans(lab: Lab) -> None:
    kept, orphan = (lab.run(lab.pod(sized("100m", "32Mi"))) for _ in range(2))
    for pod in (kept, orphan):
        await lab.until_ready(pod)
    before = identity(lab, kept)
    await lab.crash()
    lab.begin()
    lab.run(kept)
    await lab.until_ready(kept)
    assert identity(lab, kept) == before
    uids = {pod["metadata"]["uid"] for pod in (kept, orphan)}
    assert lab.parts.cgroups.pods() == uids
    lab.workers.adopt_orphans(uids)
    await until(
        lambda: lab.parts.cgroups.pods() == {kept["metadata"]["uid"]}, "the orphan's slice is gone"
    )
    await lab.gone(kept)


def pod_object(name: str) -> Obj:
    spec = {"nodeName": NODE, "terminationGracePeriodSeconds": 1, "containers": [shell(STAY)]}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


async def ready(node: NodeProcess, name: str) -> Obj:
    return await node.cluster.wait_for(PODS, name, objects.is_pod_ready)


async def test_a_node_is_ready_and_holds_all_pods_to_what_it_offers() -> None:
    async with open_node_process("--kube-reserved=memory=512Mi", driver="systemd") as node:
        found = await node.client.get(NODES, NODE)
        capacity = int(found["status"]["capacity"]["memory"].removesuffix("Ki")) * 1024
        all_pods = node.cgroups.root
        offered = str(capacity - 512 * MEBI)
        await until(
            lambda: systemd_says(all_pods, "MemoryMax") == [offered], "the bound of all pods"
        )
        await node.client.create(PODS, pod_object("web"))
        started = (await ready(node, "web"))["status"]["containerStatuses"][0]["containerID"]
        node.kill()
        node.start("--kube-reserved=memory=512Mi")
        await node.client.create(PODS, pod_object("next"))
        await ready(node, "next")
        again = (await ready(node, "web"))["status"]["containerStatuses"][0]
        assert (again["containerID"], again["restartCount"]) == (started, 0)
        await reload()
        assert (MOUNT / all_pods.lstrip("/") / "memory.max").read_text().strip() == offered
    assert units(node.cgroup) == []
