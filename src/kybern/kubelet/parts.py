"""The shared parts of a node that every pod worker uses, and the facts about the node."""

from dataclasses import dataclass, field
from typing import Protocol

from kybern.api.errors import Obj
from kybern.component.clock import Clock
from kybern.kubelet.admission.gate import Admission
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.cpus.manager import CpuManager
from kybern.kubelet.cri.client import Runtime
from kybern.kubelet.cri.state import StateReader
from kybern.kubelet.devices.claims import Claims
from kybern.kubelet.devices.manager import DeviceManager
from kybern.kubelet.images.puller import Puller
from kybern.kubelet.lifecycle import Hooks
from kybern.kubelet.memory.manager import MemoryManager
from kybern.kubelet.network_files import ClusterDns
from kybern.kubelet.objects import Objects
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.backoff import Backoff
from kybern.kubelet.probes.manager import ProbeManager
from kybern.kubelet.status.manager import StatusManager
from kybern.kubelet.user_namespaces import UserNamespaces
from kybern.kubelet.volumes.manager import VolumeManager
from kybern.kubelet.volumes.tokens import Tokens


class Recorder(Protocol):
    """Where events go: ``kybern.client.events.EventRecorder``."""

    def event(
        self, obj: Obj, type: str, reason: str, message: str, *, field_path: str = ""
    ) -> None: ...


@dataclass(slots=True)
class NodeFacts:
    """What the node says of itself; the node status loop keeps it up to date."""

    name: str
    ips: tuple[str, ...] = ()
    allocatable: Obj = field(default_factory=dict)
    memory_capacity: int = 0
    huge_page_sizes: tuple[int, ...] = ()
    network_ready: bool = False
    network_message: str = ""
    node: Obj = field(default_factory=dict)

    @property
    def reference(self) -> Obj:
        """The node as events name it."""
        # Upstream's kubelet puts the name where the UID belongs, and describe relies on it.
        meta = {"name": self.name, "uid": self.name}
        return {"apiVersion": "v1", "kind": "Node", "metadata": meta}


@dataclass(slots=True)
class Parts:
    """One node's parts, made once by ``main`` (or a test)."""

    clock: Clock
    facts: NodeFacts
    runtime: Runtime
    reader: StateReader
    paths: Paths
    cgroups: Cgroups
    volumes: VolumeManager
    tokens: Tokens
    objects: Objects
    puller: Puller
    probes: ProbeManager
    hooks: Hooks
    status: StatusManager
    recorder: Recorder
    dns: ClusterDns
    crash_backoff: Backoff
    admission: Admission
    devices: DeviceManager
    claims: Claims
    cpus: CpuManager
    memory: MemoryManager
    user_namespaces: UserNamespaces
    seccomp_root: str = ""

    def report(self, pod: Obj, container: Obj | None, type: str, reason: str, message: str) -> None:
        """An event about a pod, or about one container of it."""
        path = spec.field_path(pod, container["name"]) if container else ""
        self.recorder.event(pod, type, reason, message, field_path=path)
