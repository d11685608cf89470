"""What is left on the node: memory, disk space, inodes, process ids. Looking blocks."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    IMAGE_FS,
    IMAGE_FS_INODES,
    MEMORY,
    NODE_FS,
    NODE_FS_INODES,
    PIDS,
    Observation,
    Observations,
)
from kybern.kubelet.node.machine import memory_info
from kybern.kubelet.parts import Parts


@dataclass(frozen=True, slots=True)
class Disks:
    """The file systems of the kubelet's own files and of the runtime's images."""

    node: Path
    images: Path

    @property
    def separate(self) -> bool:
        """Whether images have a file system of their own."""
        return os.stat(self.node).st_dev != os.stat(self.images).st_dev


def observe(disks: Disks, cgroups: Cgroups) -> Observations:
    """All signals as they are now."""
    space, inodes = _file_system(disks.node)
    image_space, image_inodes = _file_system(disks.images)
    found = {
        MEMORY: _memory(),
        NODE_FS: space,
        NODE_FS_INODES: inodes,
        IMAGE_FS: image_space,
        IMAGE_FS_INODES: image_inodes,
        PIDS: _process_ids(),
    }
    if (memory := cgroups.memory_of_all()) is not None:
        limit, used = memory
        found[ALLOCATABLE_MEMORY] = Observation(limit - used, limit)
    return found


async def find_disks(parts: Parts) -> Disks:
    """Where this node's files and images lie; raises RpcError while the runtime is silent."""
    node = parts.paths.root
    systems = await parts.runtime.image_file_systems()
    images = Path(systems[0].fs_id.mountpoint) if systems else node
    exists = await asyncio.to_thread(images.exists)
    return Disks(node, images if exists else node)


def _memory() -> Observation:
    """The working set counts as used: all but free memory and files that nobody looks at."""
    memory = memory_info()
    available = memory.get("MemFree", 0) + memory.get("Inactive(file)", 0)
    return Observation(available, memory.get("MemTotal", 0))


def _file_system(path: Path) -> tuple[Observation, Observation]:
    found = os.statvfs(path)
    space = Observation(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
    return space, Observation(found.f_favail, found.f_files)


def _process_ids() -> Observation:
    """The kernel bounds both the numbers and the threads; the fourth word of loadavg counts."""
    limits = ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max")
    most = min(int(Path(path).read_text()) for path in limits)
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    return Observation(most - running, most)
