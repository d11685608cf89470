"""Persistent volume claims whose volume is a directory of this node (hostPath and local)."""

import asyncio
from pathlib import Path

from kybern.api.errors import Obj
from kybern.kubelet.objects import Objects
from kybern.kubelet.volumes.directories import check_host_path
from kybern.kubelet.volumes.payloads import VolumeError


class Claims:
    """Finds where a bound claim's data is."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def path(self, pod: Obj, source: Obj) -> Path:
        """The directory; raises VolumeError until the claim is bound to a volume we can serve."""
        namespace, name = pod["metadata"]["namespace"], source["claimName"]
        claim = await self._objects.claim(namespace, name)
        if claim is None:
            raise VolumeError(f'persistentvolumeclaim "{name}" not found')
        volume_name = claim["spec"].get("volumeName")
        if not volume_name or (claim.get("status") or {}).get("phase") != "Bound":
            raise VolumeError(f"PVC {namespace}/{name} is not bound")
        volume = await self._objects.persistent_volume(volume_name)
        if volume is None:
            raise VolumeError(f'persistentvolume "{volume_name}" not found')
        if host_path := volume["spec"].get("hostPath"):
            return await asyncio.to_thread(check_host_path, host_path)
        if local := volume["spec"].get("local"):
            path = Path(local["path"])
            if not await asyncio.to_thread(path.exists):
                raise VolumeError(f'path "{path}" does not exist')
            return path
        raise VolumeError(f"no volume plugin matched for persistentvolume {volume_name}")
