"""Sets up a pod's volumes, refreshes their content, finds container mounts, and cleans up.

The pod worker calls :meth:`VolumeManager.set_up` before every sync (it is quick when nothing
changed, and rewrites files whose sources did), and :meth:`tear_down` when the pod's containers are
gone. The disk is the only memory: after a restart, set-up finds what is there.
"""

import asyncio
import errno
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from kybern.api.errors import Obj, StatusError
from kybern.kubelet import huge_pages
from kybern.kubelet.cri.client import cri
from kybern.kubelet.env import expand
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.failures import StartFailure
from kybern.kubelet.volumes import atomic_files, directories, mounting, subpaths
from kybern.kubelet.volumes.apart import apart
from kybern.kubelet.volumes.image import ImageVolumes
from kybern.kubelet.volumes.payloads import Files, Payloads, VolumeError, default_mode
from kybern.kubelet.volumes.persistent import PersistentVolumes
from kybern.kubelet.volumes.use import MountedVolume, Space

_PROPAGATION = {
    "None": cri.PROPAGATION_PRIVATE,
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}


# Volumes whose files come from objects, and the names of their plugins on the disk.
_CONTENT = {
    "configMap": "configmap",
    "secret": "secret",
    "downwardAPI": "downward-api",
    "projected": "projected",
}


class VolumeManager:
    """One node's volumes; ``event`` tells of what goes wrong while a pod has its volumes."""

    def __init__(
        self,
        paths: Paths,
        payloads: Payloads,
        persistent: PersistentVolumes,
        images: ImageVolumes,
        event: Callable[[Obj, str, str, str], None],
    ) -> None:
        self._images = images
        self._paths = paths
        self._payloads = payloads
        self._persistent = persistent
        self._event = event

    async def set_up(
        self, pod: Obj, facts: Mapping[str, str], allocatable: Obj
    ) -> dict[str, MountedVolume]:
        """Every volume of the pod by name; raises VolumeError with the volume's name in it."""
        found: dict[str, MountedVolume] = {}
        for volume in pod["spec"].get("volumes") or ():
            name = volume["name"]
            try:
                if "persistentVolumeClaim" in volume or "ephemeral" in volume:
                    found[name] = await self._persistent.set_up(pod, volume)
                elif "image" in volume:
                    found[name] = await self._set_up_image(pod, volume)
                elif kind := self._persistent.serves(volume):
                    found[name] = await self._persistent.set_up_inline(pod, volume, kind)
                else:
                    path = await self._set_up_own(pod, volume, facts, allocatable)
                    found[name] = MountedVolume(path)
            except (VolumeError, StatusError, OSError) as error:
                shown = getattr(error, "volume", "") or name
                message = f'MountVolume.SetUp failed for volume "{shown}" : {error}'
                if not (before := self._filled(pod, volume)):
                    raise VolumeError(message) from error
                # What was there before stays, and containers may start with it.
                self._event(pod, "Warning", "FailedMount", message)
                found[name] = MountedVolume(before)
        return found

    def _filled(self, pod: Obj, volume: Obj) -> Path | None:
        """Where a volume is that was filled from objects before."""
        for kind in _CONTENT.keys() & volume.keys():
            path = self._paths.volume(spec.uid(pod), _CONTENT[kind], volume["name"])
            return path if atomic_files.is_filled(path) else None
        return None

    async def _set_up_image(self, pod: Obj, volume: Obj) -> MountedVolume:
        path = self._paths.volume(spec.uid(pod), "image", volume["name"])

        def report(type: str, reason: str, message: str) -> None:
            self._event(pod, type, reason, message)

        try:
            await self._images.set_up(pod, volume, path, report)
        except StartFailure as failure:
            return MountedVolume(path, read_only=True, failure=failure)
        return MountedVolume(path, read_only=True)

    async def _set_up_own(
        self, pod: Obj, volume: Obj, facts: Mapping[str, str], allocatable: Obj
    ) -> Path:
        uid, name = spec.uid(pod), volume["name"]
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if (source := volume.get("hostPath")) is not None:
            return await apart(directories.check_host_path, source)
        if (source := volume.get("emptyDir")) is not None:
            path = self._paths.volume(uid, "empty-dir", name)
            if (medium := source.get("medium") or "").startswith(huge_pages.MEDIUM):
                size = _page_size(pod, medium)
                await asyncio.to_thread(directories.set_up_huge_page_dir, path, size, group)
            else:
                await asyncio.to_thread(directories.set_up_empty_dir, path, source, group)
            return path
        if (source := volume.get("configMap")) is not None:
            files = await self._payloads.config_map(pod, source, default_mode(source))
            return await self._write(uid, "configmap", name, files, group)
        if (source := volume.get("downwardAPI")) is not None:
            mode = default_mode(source)
            files = await self._payloads.downward(pod, source, mode, facts, allocatable)
            return await self._write(uid, "downward-api", name, files, group)
        if (source := volume.get("secret")) is not None:
            files = await self._payloads.secret(pod, source, default_mode(source))
            return await self._write(uid, "secret", name, files, group, in_memory=True)
        if "projected" in volume:
            files = await self._payloads.projected(pod, volume, facts, allocatable)
            return await self._write(uid, "projected", name, files, group, in_memory=True)
        kinds = ", ".join(key for key in volume if key != "name")
        raise VolumeError(f"no volume plugin matched: {kinds or 'no source'}")

    async def _write(
        self,
        uid: str,
        plugin: str,
        name: str,
        files: Files,
        group: int | None,
        in_memory: bool = False,
    ) -> Path:
        path = self._paths.volume(uid, plugin, name)

        def write() -> None:
            if in_memory:
                directories.set_up_memory_dir(path)
            else:
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
            atomic_files.write(path, files, group)

        await asyncio.to_thread(write)
        return path

    async def mounts(
        self,
        pod: Obj,
        container: Obj,
        volumes: Mapping[str, MountedVolume],
        environment: Mapping[str, str],
    ) -> list[Any]:
        """The container's volume mounts as the runtime's messages."""
        return await apart(self._mounts, pod, container, volumes, environment)

    def _mounts(
        self,
        pod: Obj,
        container: Obj,
        volumes: Mapping[str, MountedVolume],
        environment: Mapping[str, str],
    ) -> list[Any]:
        result = []
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            volume = volumes.get(mount["name"])
            if volume is None:
                raise VolumeError(f'cannot find volume "{mount["name"]}" to mount into container')
            source = volume.path
            sub_path = mount.get("subPath") or ""
            if expression := mount.get("subPathExpr"):
                sub_path = expand(expression, environment.get)
            if sub_path:
                own = self._paths.subpaths(spec.uid(pod)) / mount["name"] / container["name"]
                source = subpaths.bind(source, sub_path, own / str(index))
            result.append(
                cri.Mount(
                    container_path=_absolute(mount["mountPath"]),
                    host_path=str(source),
                    readonly=volume.read_only or bool(mount.get("readOnly")),
                    propagation=_PROPAGATION[mount.get("mountPropagation") or "None"],
                )
            )
        return result

    def devices(self, container: Obj, volumes: Mapping[str, MountedVolume]) -> list[Any]:
        """The container's block devices as the runtime's messages."""
        result = []
        for device in container.get("volumeDevices") or ():
            volume = volumes.get(device["name"])
            if volume is None or not volume.is_device:
                raise VolumeError(f'cannot find device "{device["name"]}" for container')
            permissions = "r" if volume.read_only else "mrw"
            path = str(volume.path)
            result.append(
                cri.Device(
                    container_path=device["devicePath"], host_path=path, permissions=permissions
                )
            )
        return result

    async def space(self, pod: Obj) -> dict[str, Space]:
        """How full the volumes of a pod's claims are, by the pod's names for them."""
        return await self._persistent.space(pod)

    def images_in_use(self) -> Collection[str]:
        """The IDs of the images that pods have as volumes."""
        return self._images.in_use()

    async def sweep(self) -> None:
        """Undo what an earlier kubelet began and no pod uses; call it before any pod is set up."""
        await self._persistent.sweep()

    async def tear_down(self, uid: str) -> None:
        """Unmount and remove everything of a pod; harmless if nothing is there."""
        self._payloads.forget(uid)
        # Parts of volumes first: they keep the volumes themselves busy.
        await asyncio.to_thread(_unmount_below, self._paths.subpaths(uid))
        await self._persistent.tear_down(uid)
        await self._images.tear_down(self._paths.volumes(uid), uid)
        await asyncio.to_thread(self._tear_down, self._paths.pod(uid))

    def _tear_down(self, directory: Path) -> None:
        _unmount_below(directory)
        if left := mounting.mounted_below(directory):
            # What is mounted is not the pod's alone, and must not be removed with its files.
            raise OSError(errno.EBUSY, "still mounted", str(left[0]))
        if directory.exists():
            shutil.rmtree(directory)


def _page_size(pod: Obj, medium: str) -> int:
    try:
        return huge_pages.page_size(pod, medium)
    except ValueError as error:
        raise VolumeError(str(error)) from None


def _unmount_below(directory: Path) -> None:
    for target in mounting.mounted_below(directory):
        mounting.unmount(target)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
