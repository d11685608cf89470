"""Measures what pods use: memory and layers from the runtime, files on disk, process counts.

Nothing is sampled in the background: pods are measured when something is short, and those with
limits on local storage at every look.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.cri import labels
from kybern.kubelet.eviction.ranking import ContainerUsage, Disk, PodUsage, Usage
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec

# A directory of more files than this is not counted to its end: it is large enough to be noticed.
MAX_ENTRIES = 1_000_000
# Secrets and projected volumes live in memory.
_LOCAL = {"emptyDir": "empty-dir", "configMap": "configmap", "downwardAPI": "downward-api"}


async def measure(pods: Sequence[Obj], parts: Parts) -> Usage:
    """The usage of the pods by UID; one that the runtime says nothing of is left out."""
    found: dict[str, PodUsage] = {}
    wanted = {spec.uid(pod) for pod in pods}
    for stats in await parts.runtime.container_stats():
        marks = stats.attributes.labels
        uid = marks.get(labels.POD_UID, "")
        if uid in wanted:
            used = found.setdefault(uid, PodUsage())
            used.memory += stats.memory.working_set_bytes.value
            used.containers[marks.get(labels.CONTAINER_NAME, "")] = ContainerUsage(
                stats.memory.working_set_bytes.value,
                Disk(stats.writable_layer.used_bytes.value, stats.writable_layer.inodes_used.value),
            )
    await asyncio.to_thread(
        _add_files, [pod for pod in pods if spec.uid(pod) in found], found, parts
    )
    return found


def _add_files(pods: Sequence[Obj], found: dict[str, PodUsage], parts: Parts) -> None:
    for pod in pods:
        used = found[spec.uid(pod)]
        used.processes = parts.cgroups.processes(pod)
        logs = parts.paths.logs(pod)
        for name, own in list(used.containers.items()):
            used.containers[name] = ContainerUsage(own.memory, own.layer, disk_usage(logs / name))
        for volume in pod["spec"].get("volumes") or ():
            if (path := _local_path(pod, volume, parts)) is not None:
                used.volumes[volume["name"]] = disk_usage(path)


def _local_path(pod: Obj, volume: Obj, parts: Parts) -> Path | None:
    """Where a volume that takes the node's own disk lies; one in memory takes none."""
    for source, plugin in _LOCAL.items():
        if source in volume:
            in_memory = source == "emptyDir" and volume[source].get("medium") == "Memory"
            path = parts.paths.volume(spec.uid(pod), plugin, volume["name"])
            return None if in_memory else path
    return None


def disk_usage(directory: Path) -> Disk:
    """Bytes and inodes below a directory, on its own file system. Blocks."""
    used, seen = 0, set()
    try:
        device = directory.lstat().st_dev
    except OSError:
        return Disk()
    for path, names, files in os.walk(directory):
        for name in (".", *files):
            try:
                status = os.lstat(os.path.join(path, name))
            except OSError:
                continue
            if status.st_dev == device and status.st_ino not in seen:
                seen.add(status.st_ino)
                used += status.st_blocks * 512
        names[:] = [name for name in names if not os.path.ismount(os.path.join(path, name))]
        if len(seen) > MAX_ENTRIES:
            break
    return Disk(used, len(seen))
