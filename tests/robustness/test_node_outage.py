"""An hour without the API server: pods go on, containers are restarted, and afterwards all is told.

The hour is a leap of the kubelet's clock, so tokens age and what is kept grows old.
"""

import asyncio

from containerd_lab import STAY, needs_containerd, open_runtime, shell, until

from broken_line import BrokenLine
from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import CONFIG_MAPS, NODES, PODS
from kybern.api.user import AUTHENTICATED_GROUP, UserInfo
from kybern.client import Client
from kybern.component.clock import Clock
from kybern.kubelet.cgroups.kernel import CgroupFiles
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.config import Config
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.main import run
from kybern.testing import Cluster

pytestmark = needs_containerd

HOUR = 3600.0
NODE = UserInfo("system:node:lab", ("system:nodes", AUTHENTICATED_GROUP))


class LeapingClock(Clock):
    """The real clock, and what was leapt over."""

    leapt = 0.0

    def time(self) -> float:
        return super().time() + self.leapt

    def monotonic(self) -> float:
        return super().monotonic() + self.leapt


def pod(name: str) -> Obj:
    mounts = [{"name": "settings", "mountPath": "/settings"}]
    container = shell(
        "echo begun; " + STAY,
        volumeMounts=mounts,
        envFrom=[{"configMapRef": {"name": "settings"}}],
    )
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}],
        },
    }


async def test_an_hour_without_the_api_server_is_survived() -> None:
    async with open_runtime() as (containerd, directory), Cluster(nodes=0) as cluster:
        config = Config(
            root_dir=str(directory / "kubelet"),
            container_runtime_endpoint=f"unix://{containerd.socket}",
            hostname_override="lab",
            node_ip=("127.0.0.1",),
            address="127.0.0.1",
            port=0,
            cgroup_root=f"kybern-lab-{directory.name}",
        )
        clock, line = LeapingClock(), BrokenLine(cluster.server.handler, NODE)
        kubelet = asyncio.create_task(run(Client(line, clock), clock, config))
        runtime = Runtime(config.container_runtime_endpoint)
        try:
            await endure(cluster, clock, line, runtime)
            left = Cgroups(config.cgroup_root)
            await until(lambda: not left.pods(), "nothing is left")
        finally:
            await runtime.close()
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)
            CgroupFiles().remove(config.cgroup_root)


async def endure(cluster: Cluster, clock: LeapingClock, line: BrokenLine, runtime: Runtime) -> None:
    client = cluster.client
    await cluster.wait_for(NODES, "lab", lambda node: "taints" not in node["spec"])
    settings = {"metadata": {"name": "settings"}, "data": {"color": "blue"}}
    await client.create(CONFIG_MAPS, settings, "default")
    for name in ("steady", "leaver"):
        await client.create(PODS, pod(name), "default")
    steady = await cluster.wait_for(PODS, "steady", objects.is_pod_ready)
    await cluster.wait_for(PODS, "leaver", objects.is_pod_ready)
    first = steady["status"]["containerStatuses"][0]["containerID"].partition("://")[2]

    line.down = True
    clock.leapt += HOUR
    await client.delete(PODS, "leaver", "default")
    await client.patch(CONFIG_MAPS, "settings", {"data": {"color": "green"}}, "default")
    await client.create(PODS, pod("comer"), "default")
    await runtime.stop_container(first, 1)

    async def again() -> bool:
        found = await runtime.containers()
        return any(one.state == 1 and one.metadata.attempt == 1 for one in found)

    await until(again, "the container is started again without an API server")
    assert len(await runtime.sandboxes()) == 2

    line.down = False
    after = await cluster.wait_for(
        PODS,
        "steady",
        lambda found: (
            found["status"]["containerStatuses"][0]["restartCount"] == 1
            and objects.is_pod_ready(found)
        ),
    )
    status = after["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["containerID"] == f"containerd://{first}"
    assert objects.uid(after) == objects.uid(steady)
    await cluster.wait_for(PODS, "comer", objects.is_pod_ready)
    await cluster.wait_gone(PODS, "leaver")
    for name in ("steady", "comer"):
        await client.delete(PODS, name, "default")
        await cluster.wait_gone(PODS, name)
