"""A cluster in this process with one real node: kubelet, containerd, local-path provisioner.

The kubelet can be stopped at any moment and started again. Leaving the lab proves that nothing of
any volume is left: no mount, no loop device, no directory.
"""

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from containerd_lab import STAY, open_runtime, shell, until

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kybern.api.user import ADMIN, AUTHENTICATED_GROUP, UserInfo
from kybern.client import Client
from kybern.cluster.credentials import LOCAL_PATH_GROUP
from kybern.cluster.nodes import local_path
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.kubelet import main as kubelet
from kybern.kubelet.cgroups.kernel import CgroupFiles
from kybern.kubelet.config import Config
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.sources.references import FRESH_SECONDS
from kybern.localpath import main as provisioner
from kybern.localpath.config import Config as ProvisionerConfig
from kybern.testing import Cluster

NODE = "lab"
_OF_VOLUMES = re.compile("/kubernetes.io[~/](local-volume|csi|nfs)/")


class StorageLab:
    """The cluster, its node, and what tests ask of them."""

    def __init__(self, cluster: Cluster, socket: Path, directory: Path) -> None:
        self.cluster = cluster
        self.client: Client = cluster.client
        self.directory = directory
        self.root = directory / "kubelet"
        self.volumes = directory / "local-path"
        pki_directory = cluster.kubeconfig.parent / "pki"
        authority = pki.load_or_create_authority(pki_directory, "ca", "kubernetes", Clock())
        serving = authority.issue_server(f"system:node:{NODE}", [NODE, "127.0.0.1"])
        serving.save(directory, "kubelet")
        self.config = Config(
            root_dir=str(self.root),
            container_runtime_endpoint=f"unix://{socket}",
            hostname_override=NODE,
            node_ip=("127.0.0.1",),
            address="127.0.0.1",
            port=0,
            cgroup_root=f"kybern-lab-{directory.name}",
            client_ca_file=str(pki_directory / "ca.crt"),
            tls_cert_file=str(directory / "kubelet.crt"),
            tls_private_key_file=str(directory / "kubelet.key"),
        )
        self._kubelet: asyncio.Task[None] | None = None
        self._provisioner: asyncio.Task[None] | None = None

    async def start_kubelet(self) -> None:
        user = UserInfo(f"system:node:{NODE}", ("system:nodes", AUTHENTICATED_GROUP))
        client = self.cluster.client_as(user, "kubelet")
        self._kubelet = asyncio.create_task(kubelet.run(client, Clock(), self.config))
        await self.cluster.wait_for(NODES, NODE, lambda node: "taints" not in node["spec"])

    async def stop_kubelet(self) -> None:
        """What is on the node stays as it is."""
        await _end(self._kubelet)

    async def start_provisioner(self) -> None:
        await local_path.offer(self.cluster.client_as(ADMIN))
        user = UserInfo(f"{LOCAL_PATH_GROUP}:{NODE}", (LOCAL_PATH_GROUP, AUTHENTICATED_GROUP))
        client = self.cluster.client_as(user, "kybern-local-path")
        config = ProvisionerConfig(NODE, str(self.volumes))
        self._provisioner = asyncio.create_task(provisioner.run(client, Clock(), config))

    async def run(self, name: str, *volumes: Obj, script: str = "", **spec: Any) -> Obj:
        """A pod with these volumes at ``/NAME``, as devices where they say so; Ready."""
        await self.client.create(PODS, pod(name, *volumes, script=script, **spec), "default")
        return await self.ready(name)

    async def ready(self, name: str) -> Obj:
        return await self.cluster.wait_for(PODS, name, objects.is_pod_ready)

    async def claim(self, name: str, size: str = "1Mi", **spec: Any) -> Obj:
        wanted = {
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
                **spec,
            },
        }
        return await self.client.create(PERSISTENT_VOLUME_CLAIMS, wanted, "default")

    async def ask_for(self, name: str, size: str) -> None:
        """Have a claim ask for more, and wait until its volume has it."""
        more = {"spec": {"resources": {"requests": {"storage": size}}}}
        claim = await self.client.patch(PERSISTENT_VOLUME_CLAIMS, name, more, "default")
        await self.cluster.wait_for(
            PERSISTENT_VOLUMES,
            claim["spec"]["volumeName"],
            lambda volume: volume["spec"]["capacity"]["storage"] == size,
        )

    async def exec(self, name: str, script: str) -> str:
        """What a shell in the pod's container says."""
        found = await self.client.get(PODS, name, "default")
        identity = found["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        runtime = Runtime(self.config.container_runtime_endpoint)
        try:
            _, out, err = await runtime.exec_sync(identity, ["sh", "-c", script], 10)
        finally:
            await runtime.close()
        return (out + err).decode()

    async def summary_of(self, name: str) -> Obj:
        """What the node's Summary says of a pod."""
        path = f"/api/v1/nodes/{NODE}/proxy/stats/summary"
        found = (await self.client.request("GET", path)).json()
        return next(one for one in found["pods"] if one["podRef"]["name"] == name)

    async def remove(self, *names: str) -> None:
        for name in names:
            await self.client.delete(PODS, name, "default")
        for name in names:
            await self.cluster.wait_gone(PODS, name)

    async def remove_claims(self, *names: str) -> None:
        """Delete claims, and wait until their volumes have followed."""
        for name in names:
            await self.client.delete(PERSISTENT_VOLUME_CLAIMS, name, "default")

        async def gone() -> bool:
            left, _ = await self.client.list_all(PERSISTENT_VOLUMES)
            return not any(
                volume["spec"].get("claimRef", {}).get("name") in names
                and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
                for volume in left
            )

        await until(gone, "the volumes are deleted")

    async def until_grown(self, name: str, claim: str, size: str) -> Obj:
        """Have the kubelet look at a pod again and again until its claim has got the size."""

        async def grown() -> Obj | None:
            marks = {"metadata": {"annotations": {"look": Clock().uid()}}}
            await self.client.patch(PODS, name, marks, "default")
            found = await self.client.get(PERSISTENT_VOLUME_CLAIMS, claim, "default")
            await asyncio.sleep(FRESH_SECONDS / 2)
            return found if found["status"]["capacity"]["storage"] == size else None

        found: Obj = await until(grown, f"{claim} has {size}")
        return found

    def mounts(self) -> list[str]:
        """Mount points of volumes that outlive pods."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split(" ")[4] for line in lines]
        below = [point for point in points if point.startswith(f"{self.root}/")]
        return [point for point in below if _OF_VOLUMES.search(point)]

    def loops(self) -> list[str]:
        """Loop devices whose file is one of the lab's."""
        found = subprocess.run(
            ["losetup", "--noheadings", "--output", "BACK-FILE"],
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in found.stdout.splitlines() if str(self.directory) in line]

    def traces(self) -> list[str]:
        """All that volumes and their uses have left on the node."""
        plugins = "kubelet/plugins/kubernetes.io"
        places = ("kubelet/pods/*", f"{plugins}/*/*/*", f"{plugins}/csi/*/*/*", "local-path/*")
        found = [path for place in places for path in self.directory.glob(place)]
        files = [str(path) for path in found if path.name not in ("staging", "publish")]
        return [*self.mounts(), *self.loops(), *files]

    async def remove_everything(self) -> None:
        """Pods first, then their claims."""
        pods, _ = await self.client.list_all(PODS, "default")
        await self.remove(*(objects.name(found) for found in pods))
        claims, _ = await self.client.list_all(PERSISTENT_VOLUME_CLAIMS, "default")
        await self.remove_claims(*(objects.name(found) for found in claims))

    async def close(self) -> None:
        await self.remove_everything()
        try:
            await until(lambda: not self.traces(), "no trace of any volume is left")
        finally:
            await _end(self._provisioner)
            await _end(self._kubelet)
            CgroupFiles().remove(self.config.cgroup_root)


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def claimed(claim: str, *, device: bool = False, **fields: Any) -> Obj:
    """A pod's volume that is the claim's; ``fields`` go to its mount."""
    source = {"claimName": claim}
    return {"name": claim, "persistentVolumeClaim": source, "device": device, "mount": fields}


def pod(name: str, *volumes: Obj, script: str = "", **spec: Any) -> Obj:
    container = shell(script + STAY)
    declared = []
    for volume in volumes:
        own = dict(volume)
        is_device, fields = own.pop("device", False), own.pop("mount", {})
        declared.append(own)
        if is_device:
            place = {"name": own["name"], "devicePath": f"/dev/{own['name']}"}
            container.setdefault("volumeDevices", []).append(place)
        else:
            place = {"name": own["name"], "mountPath": f"/{own['name']}", **fields}
            container.setdefault("volumeMounts", []).append(place)
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": declared,
            "nodeSelector": {"kubernetes.io/hostname": NODE},
            **spec,
        },
    }


@contextlib.asynccontextmanager
async def open_storage_lab() -> AsyncIterator[StorageLab]:
    async with open_runtime() as (containerd, directory), Cluster(nodes=0, serve=True) as cluster:
        lab = StorageLab(cluster, containerd.socket, directory)
        await lab.start_kubelet()
        await lab.start_provisioner()
        try:
            yield lab
        finally:
            await lab.close()
