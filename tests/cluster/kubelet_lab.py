"""A kubelet's parts on a private containerd, for tests with real containers.

Pods are fed by hand to real pod workers, so no API server is needed. Leaving the lab proves that
nothing is left behind, the pods' cgroups included.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import (
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containerd_lab import BUSYBOX, SECONDS, Containerd, open_runtime, until

from kybern.component.clock import Clock
from kybern.kubelet.cgroups.kernel import CgroupFiles
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.config import Config
from kybern.kubelet.images.credentials import PullSecret
from kybern.kubelet.main import make_parts
from kybern.kubelet.node.machine import read_machine
from kybern.kubelet.parts import NodeFacts, Parts
from kybern.kubelet.pods.pleg import Pleg
from kybern.kubelet.pods.workers import PodWorkers
from kybern.kubelet.status.manager import StatusManager
from kybern.rpc.client import RpcError

Obj = dict[str, Any]


@dataclass
class Objects:
    """The objects that pods refer to, as a test writes them down."""

    config_maps: dict[str, Obj] = field(default_factory=dict)
    secrets: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    links: list[Obj] = field(default_factory=list)
    tokens: list[tuple[str, int]] = field(default_factory=list)

    def follow(self, pod: Obj) -> None:
        """What a test writes down is up to date."""

    def forget(self, uid: str) -> None:
        """Nothing was kept."""

    async def config_map(self, namespace: str, name: str) -> Obj | None:
        return self.config_maps.get(name)

    async def secret_data(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return self.secrets.get(name)

    async def claim(self, namespace: str, name: str) -> Obj | None:
        return None

    async def resource_claim(self, namespace: str, name: str) -> Obj | None:
        return None

    async def persistent_volume(self, name: str) -> Obj | None:
        return None

    async def write_claim_status(self, claim: Obj) -> None:
        raise AssertionError("there are no claims here")

    async def csi_driver(self, name: str) -> Obj | None:
        return None

    async def volume_attachment(self, name: str) -> Obj | None:
        return None

    async def volumes_attached(self, node: str) -> list[str]:
        return []

    async def write_volumes_in_use(self, node: str, names: Sequence[str]) -> None:
        raise AssertionError("nothing is attached here")

    async def service_account(self, namespace: str, name: str) -> Obj | None:
        return {"metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}"}}

    async def runtime_handler(self, runtime_class: str) -> str:
        return runtime_class

    async def pull_secrets(self, pod: Obj) -> list[PullSecret]:
        names = [one["name"] for one in pod["spec"].get("imagePullSecrets") or ()]
        return [PullSecret("default", name, f"uid-{name}", self.secrets[name]) for name in names]

    def services(self, namespace: str, linked: bool) -> Iterable[Obj]:
        return self.links if linked else []

    async def token(
        self, pod: Obj, audience: str, expiration_seconds: int, account_uid: str = ""
    ) -> tuple[str, float]:
        self.tokens.append((audience, expiration_seconds))
        return f"token-{len(self.tokens)}", Clock().time() + expiration_seconds


class Events:
    """Records events for the test to read."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str]] = []

    def event(
        self, obj: Obj, type: str, reason: str, message: str, *, field_path: str = ""
    ) -> None:
        self.seen.append((obj["metadata"]["name"], type, reason, message))

    def reasons(self, name: str) -> list[str]:
        return [reason for of, _, reason, _ in self.seen if of == name]

    def messages(self, name: str, reason: str) -> list[str]:
        return [message for of, _, why, message in self.seen if (of, why) == (name, reason)]


class Lab:
    """A node without an API server."""

    def __init__(self, containerd: Containerd, directory: Path, **settings: Any) -> None:
        self.containerd = containerd
        self.settings = settings
        self.directory = directory
        self.clock = Clock()
        self.objects = Objects()
        self.events = Events()
        self._count = 0
        self._pleg: asyncio.Task[None] | None = None
        self._cpus: asyncio.Task[None] | None = None
        self.begin()

    def begin(self) -> None:
        """Be a kubelet that has just started."""
        root = self.directory / "kubelet"
        root.mkdir(exist_ok=True)
        self.config = Config(
            root_dir=str(root),
            container_runtime_endpoint=f"unix://{self.containerd.socket}",
            cgroup_root=f"kybern-lab-{self.directory.name}",
            **self.settings,
        )
        machine = read_machine(root)
        facts = NodeFacts("lab", ("10.77.0.1",), {"cpu": "2", "memory": "1Gi"})
        facts.node = {"metadata": {"name": "lab", "labels": {"kubernetes.io/os": "linux"}}}
        facts.memory_capacity, facts.network_ready = machine.memory_bytes, True
        facts.huge_page_sizes = tuple(machine.huge_pages)
        self.status = StatusManager(None)
        self.parts: Parts = make_parts(
            self.config, self.clock, facts, self.objects, self.status, self.events
        )
        self.workers = PodWorkers(self.parts)
        self.parts.probes.on_change = self.workers.wake
        self.parts.admission.on_change = self.workers.wake
        self.pleg = Pleg(self.parts.runtime, self.workers.wake)
        self._pleg = asyncio.create_task(self.pleg.run())
        self._cpus = asyncio.create_task(self.parts.cpus.run())

    async def crash(self) -> None:
        """Stop being a kubelet, as kill -9 would: nothing is told to anybody."""
        assert self._pleg is not None
        assert self._cpus is not None
        for task in (self._pleg, self._cpus):
            task.cancel()
        await asyncio.gather(self._pleg, self._cpus, return_exceptions=True)
        await self.workers.close()
        await self.parts.probes.close()
        await self.parts.runtime.close()
        self.parts.cgroups.close()

    def pod(self, *containers: Obj, name: str = "", **spec: Any) -> Obj:
        """A pod that is not yet known to the node."""
        self._count += 1
        name = name or f"pod-{self._count}"
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": self.clock.uid(),
                "generation": 1,
            },
            "spec": {
                "nodeName": "lab",
                "terminationGracePeriodSeconds": 1,
                "restartPolicy": "Always",
                "containers": list(containers),
                **spec,
            },
            "status": {"phase": "Pending"},
        }

    def run(self, pod: Obj) -> Obj:
        self.workers.update(pod)
        return pod

    def status_of(self, pod: Obj) -> Obj:
        return self.status.get(pod)

    def container(self, pod: Obj, name: str = "main") -> Obj:
        status = self.status_of(pod)
        groups = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        found = [s for group in groups for s in status.get(group) or () if s["name"] == name]
        return found[0] if found else {"state": {}, "restartCount": 0}

    def condition(self, pod: Obj, kind: str) -> str:
        found = self.status_of(pod).get("conditions") or ()
        return next((c["status"] for c in found if c["type"] == kind), "")

    async def until_ready(self, pod: Obj) -> Obj:
        await until(
            lambda: self.condition(pod, "Ready") == "True",
            f"{pod['metadata']['name']} is ready",
        )
        return self.status_of(pod)

    async def until_phase(self, pod: Obj, phase: str) -> Obj:
        await until(
            lambda: self.status_of(pod).get("phase") == phase,
            f"{pod['metadata']['name']} is {phase}",
        )
        return self.status_of(pod)

    async def exec(self, pod: Obj, *command: str, name: str = "main") -> str:
        identity = self.container(pod, name)["containerID"].partition("://")[2]
        _, out, err = await self.parts.runtime.exec_sync(identity, command, 10)
        return (out + err).decode()

    def log(self, pod: Obj, name: str = "main", attempt: int = 0) -> str:
        path = self.parts.paths.logs(pod) / name / f"{attempt}.log"
        if not path.exists():
            return ""
        return "".join(line.split(" ", 3)[3] + "\n" for line in path.read_text().splitlines())

    def change(self, pod: Obj, **fields: Any) -> Obj:
        """The pod's next generation, with other fields in its spec."""
        known = self.workers.get(pod["metadata"]["uid"])
        newest = known.pod if known and known.pod else pod
        meta = {**newest["metadata"], "generation": newest["metadata"]["generation"] + 1}
        changed = {**newest, "metadata": meta, "spec": {**newest["spec"], **fields}}
        self.workers.update(changed)
        return changed

    def delete(self, pod: Obj, grace: int = 1) -> Obj:
        """What the kubelet sees of a graceful delete."""
        known = self.workers.get(pod["metadata"]["uid"])
        newest = known.pod if known and known.pod else pod
        deleted = {
            **newest,
            "metadata": {
                **newest["metadata"],
                "deletionTimestamp": self.clock.timestamp(),
                "deletionGracePeriodSeconds": grace,
            },
        }
        self.workers.update(deleted)
        return deleted

    async def gone(self, pod: Obj) -> None:
        """Delete a pod and wait until the node has forgotten it."""
        uid = pod["metadata"]["uid"]
        self.delete(pod)
        worker = self.workers.get(uid)
        assert worker is not None
        await until(lambda: worker.terminated, f"{pod['metadata']['name']} is terminated")
        self.workers.remove(uid)
        async with asyncio.timeout(SECONDS):
            await worker.done()

    async def close(self) -> None:
        """Delete every pod, and prove that nothing is left of them."""
        for pod in self.workers.pods():
            worker = self.workers.get(pod["metadata"]["uid"])
            if worker is not None and not worker.finished:
                await self.gone(pod)
        sandboxes = await self.parts.runtime.sandboxes()
        containers = await self.parts.runtime.containers()
        await self.crash()
        assert not sandboxes and not containers
        assert not self.parts.paths.known_pods()
        assert not self.parts.cgroups.pods()
        self.remove_cgroups()

    def remove_cgroups(self) -> None:
        """The tree above the pods belongs to the node; the lab takes it away with itself."""
        remove_cgroups(self.parts.cgroups)


def remove_cgroups(cgroups: Cgroups) -> None:
    """Remove a node's tree of cgroups, the one that ``--cgroup-root`` names included."""
    top = Path(cgroups.root).parent
    if top.suffix == ".slice":
        subprocess.run(["systemctl", "stop", top.name], check=True)
    CgroupFiles().remove(str(top))


@contextlib.asynccontextmanager
async def open_lab(**settings: Any) -> AsyncIterator[Lab]:
    """A lab without an API server, its kubelet's settings given; closing checks for leftovers."""
    systemd = settings.get("cgroup_driver") == "systemd"
    async with open_runtime(systemd) as (containerd, directory):
        lab = Lab(containerd, directory, **settings)

        async def images_known() -> bool:
            try:
                return await lab.parts.runtime.image(BUSYBOX) is not None
            except RpcError:
                return False

        await until(images_known, "the images are known")
        try:
            yield lab
        finally:
            await lab.close()
