"""Where the kubelet keeps files: everything lies under its ``--root-dir``.

The layout is upstream's (``pods/UID/volumes/PLUGIN/NAME``), apart from pod logs, which upstream
puts under /var/log/pods and which here stay with the rest: one directory is the whole node.
"""

from dataclasses import dataclass
from glob import escape as glob_escape
from pathlib import Path

from kybern.api.errors import Obj


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths below one root directory; nothing here touches the disk."""

    root: Path

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    @property
    def device_plugins(self) -> Path:
        """Where device plugins and the kubelet have their sockets for one another."""
        return self.root / "device-plugins"

    def volumes(self, uid: str) -> Path:
        return self.pod(uid) / "volumes"

    def volume(self, uid: str, plugin: str, name: str) -> Path:
        """One volume; ``plugin`` is as in ``empty-dir``."""
        return self.volumes(uid) / f"kubernetes.io~{plugin}" / name

    def users(self, plugin: str, name: str) -> list[Path]:
        """The places of all pods that use a volume. Blocks."""
        return sorted(self.pods.glob(f"*/volumes/kubernetes.io~{plugin}/{glob_escape(name)}"))

    def device(self, uid: str, plugin: str, name: str) -> Path:
        """The mark of a pod's use of a block device."""
        return self.pod(uid) / "volumeDevices" / f"kubernetes.io~{plugin}" / name

    def device_users(self, plugin: str, name: str) -> list[Path]:
        """The marks of all pods that use a block device. Blocks."""
        return sorted(self.pods.glob(f"*/volumeDevices/kubernetes.io~{plugin}/{glob_escape(name)}"))

    def plugin(self, name: str) -> Path:
        """What a kind of volumes keeps for all pods; ``name`` is as in ``local-volume``."""
        return self.root / "plugins" / "kubernetes.io" / name

    def subpaths(self, uid: str) -> Path:
        return self.pod(uid) / "volume-subpaths"

    def hosts_file(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def container(self, uid: str, name: str) -> Path:
        """Files of one container: its termination messages."""
        return self.pod(uid) / "containers" / name

    @property
    def all_logs(self) -> Path:
        return self.root / "pod-logs"

    def logs(self, pod: Obj) -> Path:
        meta = pod["metadata"]
        return self.all_logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"

    def known_pods(self) -> set[str]:
        """UIDs of all pods that have files here. Blocks."""
        found = {path.name for path in self.pods.glob("*")}
        return found | {path.name.rpartition("_")[2] for path in self.all_logs.glob("*_*_*")}
