"""A node whose kubelet is a process of its own, so that it can be killed like one.

The API server and the controllers live in the test's process, containerd is a private one. Nothing
is told to a kubelet that is killed; the next one starts from what is on the node. The kubelet's
files are on a small disk of their own, so that it can be full.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from containerd_lab import Containerd, open_runtime, until
from kubelet_lab import remove_cgroups

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import NODES, PODS
from kybern.apiserver.config import Config as ApiServerConfig
from kybern.client import Client
from kybern.component import pki
from kybern.component.clock import Clock
from kybern.component.kubeconfig import Access, load_access, write_kubeconfig
from kybern.kubelet.cgroups.names import CGROUPFS, SYSTEMD
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.cri.client import Runtime, cri
from kybern.testing import Cluster

NODE = "lab"
DISK_SIZE = "16m"


class NodeProcess:
    """The node, and ways to hurt it."""

    def __init__(
        self, cluster: Cluster, containerd: Containerd, directory: Path, driver: str = CGROUPFS
    ) -> None:
        self.cluster = cluster
        self.client: Client = cluster.client
        self.containerd = containerd
        self.directory = directory
        self.root = directory / "kubelet"
        self.kubelet: subprocess.Popen[bytes] | None = None
        self.cgroup = f"kybern-lab-{directory.name}"
        self.cgroups = Cgroups(self.cgroup, driver=driver)
        self._driver = driver
        self.runtime = Runtime(f"unix://{containerd.socket}")
        self.authority = pki.load_or_create_authority(
            cluster.kubeconfig.parent / "pki", "ca", "kubernetes", Clock()
        )

    def give_credentials(self) -> None:
        """What a node has that joined long ago."""
        known = load_access(str(self.cluster.kubeconfig))
        held = self.authority.issue_client(f"system:node:{NODE}", ["system:nodes"])
        access = Access(known.server, known.ca, certificate=held.certificate_pem, key=held.key_pem)
        write_kubeconfig(self.directory / "kubeconfig", access)

    def start(self, *flags: str) -> None:
        command = [
            *(sys.executable, "-m", "kybern.cluster.cli", "run", "kubelet"),
            f"--kubeconfig={self.directory / 'kubeconfig'}",
            f"--root-dir={self.root}",
            f"--container-runtime-endpoint=unix://{self.containerd.socket}",
            f"--cgroup-root={self.cgroup}",
            f"--cgroup-driver={self._driver}",
            f"--hostname-override={NODE}",
            "--node-ip=127.0.0.1",
            "--address=127.0.0.1",
            "--port=0",
            *flags,
        ]
        if not os.path.ismount(self.root):
            self.root.mkdir()
            self._mount("-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs")
        with (self.directory / "kubelet.log").open("ab") as log:
            self.kubelet = subprocess.Popen(command, stdout=log, stderr=log)

    def make_disk(self, mode: str) -> None:
        """Have the disk of the kubelet's files read-only (``ro``), or not (``rw``)."""
        self._mount("-o", f"remount,bind,{mode}")

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, self.root], check=True)

    def kill(self) -> None:
        """kill -9 of the kubelet."""
        assert self.kubelet is not None
        self.kubelet.kill()
        self.kubelet.wait()

    async def ready(self, is_ready: bool = True) -> None:
        await self.cluster.wait_for(
            NODES, NODE, lambda node: ("taints" not in node["spec"]) == is_ready
        )

    async def restart_containerd(self) -> None:
        """kill -9 of containerd, and another one."""
        self.containerd.kill()
        self.containerd.start()
        await self.containerd.ready()

    def shims(self) -> list[int]:
        """The processes between containerd and the pods' containers."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = entry.read_bytes().decode(errors="replace")
                if "containerd-shim" in command and str(self.containerd.socket) in command:
                    found.append(int(entry.parent.name))
        return sorted(found)

    def kill_a_shim(self, rng: random.Random) -> None:
        if shims := self.shims():
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(shims), signal.SIGKILL)

    async def gone(self, *names: str) -> None:
        for name in names:
            await self.client.delete(PODS, name, "default")
        for name in names:
            await self.cluster.wait_gone(PODS, name)

    async def untrue(self) -> list[str]:
        """What statuses say of containers that is not so."""
        containers = {found.id: found for found in await self.runtime.containers()}
        pods, _ = await self.client.list_all(PODS, "default")
        wrong = []
        for pod in pods:
            for status in pod["status"].get("containerStatuses") or ():
                identity = status.get("containerID", "").partition("://")[2]
                found = containers.get(identity)
                runs = found is not None and found.state == cri.CONTAINER_RUNNING
                if runs != ("running" in status["state"]):
                    wrong.append(f"{objects.name(pod)}: {status['state']} but running={runs}")
        return wrong

    def left_of(self, pods: list[Obj]) -> list[str]:
        """Files and cgroups of pods of this node that are not among these."""
        known = {objects.uid(pod) for pod in pods}
        files = [path for path in (self.root / "pods").glob("*") if path.name not in known]
        logs = (self.root / "pod-logs").glob("*")
        files += [path for path in logs if path.name.rpartition("_")[2] not in known]
        groups = self.cgroups.pods() - known
        return [*map(str, files), *(f"cgroup of {uid}" for uid in sorted(groups))]

    @contextlib.asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """Afterwards nothing of any pod is left on the node, nor of the node itself."""
        try:
            yield
            await self._empty()
        finally:
            await self._stop()

    async def _empty(self) -> None:
        pods, _ = await self.client.list_all(PODS, "default")
        await self.gone(*map(objects.name, pods))
        await until(lambda: not self.left_of([]), "every file and cgroup of the pods is gone")
        assert not await self.runtime.sandboxes() and not await self.runtime.containers()

    async def _stop(self) -> None:
        await self.runtime.close()
        if self.kubelet is not None:
            self.kubelet.terminate()
            await asyncio.to_thread(self.kubelet.wait)
        if os.path.ismount(self.root):
            subprocess.run(["umount", "--recursive", self.root], check=False)
        remove_cgroups(self.cgroups)


@contextlib.asynccontextmanager
async def open_node_process(
    *flags: str, driver: str = CGROUPFS, api_server: ApiServerConfig | None = None
) -> AsyncIterator[NodeProcess]:
    """A node that is ready, its kubelet started with these flags beside the usual ones."""
    async with (
        open_runtime(driver == SYSTEMD) as (containerd, directory),
        Cluster(nodes=0, serve=True, api_server=api_server) as cluster,
    ):
        node = NodeProcess(cluster, containerd, directory, driver)
        node.give_credentials()
        async with node.ending():
            node.start(*flags)
            await node.ready()
            yield node
