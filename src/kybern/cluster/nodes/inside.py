"""A namespaced node's view of the machine: its own cgroups, /run/containerd and CNI cache.

Called by the supervisor as the first thing inside the node's new mount, process and cgroup
namespaces. Nothing done here is visible outside, and all of it is gone with the node.
"""

import ctypes
import os
from pathlib import Path

from kybern.cluster.nodes import cgroup
from kybern.cluster.nodes.spec import Node

_MS_BIND = 4096
_MS_REC = 16384
_MS_SHARED = 1 << 20
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter(node: Node) -> None:
    """Arrange the mounts of a namespaced node; raises OSError."""
    mount_cgroups()
    for host, own in (
        (Path("/run/containerd"), node.directory / "run"),
        (Path("/var/lib/cni"), node.directory / "cni" / "cache"),
    ):
        own.mkdir(parents=True, exist_ok=True)
        host.mkdir(parents=True, exist_ok=True)
        mount(str(own), str(host), "", _MS_BIND)
    # Pods may ask for mounts to propagate, which only shared mounts do.
    mount("none", "/", "", _MS_SHARED | _MS_REC)


def mount_cgroups() -> None:
    """Mount the hierarchies anew, so that the node's cgroup is their root.

    On a mixture of both versions v2 is left out: it has no controllers, and crun before 1.9
    refuses the mixture.
    """
    target = str(cgroup.MOUNT)
    if cgroup.is_unified():
        # The kernel refuses a file system on top of itself, so an empty one comes between.
        mount("tmpfs", target, "tmpfs", data="mode=755")
        mount("cgroup2", target, "cgroup2")
        return
    names = [(root.name, _controllers(root)) for root in cgroup.hierarchies()]
    links = {e.name: os.readlink(e) for e in cgroup.MOUNT.iterdir() if e.is_symlink()}
    mount("tmpfs", target, "tmpfs", data="mode=755")
    for name, controllers in names:
        if controllers:
            directory = cgroup.MOUNT / name
            directory.mkdir()
            mount("cgroup", str(directory), "cgroup", data=controllers)
    for name, link in links.items():
        (cgroup.MOUNT / name).symlink_to(link)


def _controllers(root: Path) -> str:
    """The mount options that name a v1 hierarchy; "" for the v2 one."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        after = fields.index("-")
        if fields[4] == str(root) and fields[after + 1] == "cgroup":
            options = fields[after + 3].split(",")
            return ",".join(option for option in options if option not in ("rw", "ro"))
    return ""


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2); raises OSError with the target's name."""
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()):
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind or 'bind'}: {os.strerror(code)}", target)
