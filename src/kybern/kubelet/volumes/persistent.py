"""Volumes that outlive their pods: from a pod's claim to a mount or a device of this node.

The manager asks for each such volume before every sync, and for their removal when the pod is over.
Which plugin serves a volume is said by its source. A pod's use of a volume is written on the disk
before anything is mounted, and removed after all is undone, so that a kubelet that starts anew
knows what its predecessor did: the directories below ``pods/UID`` are the only book.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from kybern.api import claim_growth, objects, volumes
from kybern.api.errors import Obj, StatusError
from kybern.kubelet.objects import Objects
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes import mounting
from kybern.kubelet.volumes.apart import apart
from kybern.kubelet.volumes.directories import check_host_path
from kybern.kubelet.volumes.ownership import Ownership
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import MountedVolume, Plugin, Space, Use

logger = logging.getLogger(__name__)

_BLOCK = "Block"
# How long a volume may take to say how full it is.
SPACE_SECONDS = 5.0
T = TypeVar("T")
# Object, type, reason, message: an event recorder's ``event``.
Report = Callable[[Obj, str, str, str], None]


class PersistentVolumes:
    """Mounts by ``plugins``, which are filed under the name of their source in a volume's spec."""

    def __init__(
        self, objects: Objects, paths: Paths, plugins: Mapping[str, Plugin], report: Report
    ) -> None:
        self._objects = objects
        self._report = report
        self._paths = paths
        self._plugins = plugins
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running: set[asyncio.Task[Any]] = set()
        # What pods have mounted, by pod and by the pod's name for it; kept for statistics alone.
        self._mounts: dict[str, dict[str, tuple[Plugin, Use]]] = {}
        self._asked: dict[Path, asyncio.Task[Space | None]] = {}

    async def set_up(self, pod: Obj, volume: Obj) -> MountedVolume:
        """The volume that a pod's claim is bound to; raises VolumeError until it can be had."""
        declared = volume.get("persistentVolumeClaim") or {}
        name = volumes.claim_names(pod)[volume["name"]]
        claim, bound = await self._bound(pod, name, own="ephemeral" in volume)
        _check_mode(pod, volume["name"], bound)
        read_only = bool(declared.get("readOnly"))
        source = bound["spec"]
        if (host_path := source.get("hostPath")) is not None:
            path = await apart(check_host_path, host_path)
            return MountedVolume(path, read_only, volumes.volume_mode(bound) == _BLOCK)
        kind = next((kind for kind in self._plugins if kind in source), "")
        if not kind:
            raise VolumeError(f"no volume plugin matched for {objects.name(bound)}")
        use = Use(
            pod,
            objects.name(bound),
            source[kind],
            read_only or bool(source[kind].get("readOnly")),
            tuple(source.get("mountOptions") or ()),
            tuple(volumes.access_modes(bound)),
            Ownership.of(pod),
        )
        try:
            found = await self._provide(self._plugins[kind], use, claim, bound)
            if not found.is_device:
                mounts = self._mounts.setdefault(spec.uid(pod), {})
                mounts[volume["name"]] = (self._plugins[kind], use)
            return found
        except (VolumeError, OSError) as error:
            raise VolumeError(str(error), use.name) from error

    async def set_up_inline(self, pod: Obj, volume: Obj, kind: str) -> MountedVolume:
        """A volume that the pod describes itself, of a kind that needs a plugin."""
        source = volume[kind]
        read_only = bool(source.get("readOnly"))
        use = Use(
            pod,
            volume["name"],
            source,
            read_only,
            ownership=Ownership.of(pod),
            is_inline=True,
        )
        return MountedVolume(await self._mounted(self._plugins[kind], use), read_only)

    def serves(self, volume: Obj) -> str:
        """The kind of a pod's own volume, if a plugin serves it."""
        return next((kind for kind in self._plugins if kind in volume), "")

    async def _bound(self, pod: Obj, name: str, *, own: bool) -> tuple[Obj, Obj]:
        """A pod's claim and its volume."""
        namespace = objects.namespace(pod)
        claim = await self._objects.claim(namespace, name)
        if claim is None:
            raise VolumeError(f'persistentvolumeclaim "{name}" not found')
        if own and not objects.is_controlled_by(claim, pod):
            where = f"{namespace}/{objects.name(pod)}"
            raise VolumeError(
                f"PVC {namespace}/{name} was not created for pod {where} (pod is not owner)"
            )
        volume_name = claim["spec"].get("volumeName")
        if not volume_name or objects.status(claim).get("phase") != "Bound":
            raise VolumeError(f"PVC {namespace}/{name} is not bound")
        volume = await self._objects.persistent_volume(volume_name)
        if volume is None:
            raise VolumeError(f'persistentvolume "{volume_name}" not found')
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != objects.uid(claim):
            raise VolumeError(
                f"persistentvolume {volume_name} is bound to another claim than {namespace}/{name}"
            )
        return claim, volume

    async def _provide(self, plugin: Plugin, use: Use, claim: Obj, bound: Obj) -> MountedVolume:
        is_device = volumes.volume_mode(bound) == _BLOCK
        place = self._mapped if is_device else self._mounted
        path = await place(plugin, use)
        if volumes.capacity(bound) > volumes.held_capacity(claim) and not use.read_only:
            try:
                await self._grow(plugin, use, claim, bound, is_device)
            except (VolumeError, StatusError, OSError) as error:
                # The pod goes on with what it has.
                text = f'MountVolume.NodeExpandVolume failed for volume "{use.name}" : {error}'
                self._report(use.pod, "Warning", "FileSystemResizeFailed", text)
        return MountedVolume(path, use.read_only, is_device)

    async def _mounted(self, plugin: Plugin, use: Use) -> Path:
        target = self._paths.volume(spec.uid(use.pod), plugin.directory, use.name)
        if await asyncio.to_thread(_is_ready, plugin, target):
            await self._alone(plugin, target, partial(plugin.refresh, use, target))
        else:
            await plugin.prepare(use, target, is_device=False)
            await self._alone(plugin, target, partial(plugin.mount, use, target))
        return plugin.mount_point(target)

    async def _mapped(self, plugin: Plugin, use: Use) -> Path:
        mark = self._paths.device(spec.uid(use.pod), plugin.directory, use.name)
        await asyncio.to_thread(mark.parent.mkdir, parents=True, exist_ok=True)
        await plugin.prepare(use, mark, is_device=True)
        return await self._alone(plugin, mark, partial(plugin.map, use, mark))

    async def _grow(
        self, plugin: Plugin, use: Use, claim: Obj, bound: Obj, is_device: bool
    ) -> None:
        """Take what the volume has got meanwhile, and tell the claim."""
        size = volumes.capacity(bound)
        place = self._paths.device if is_device else self._paths.volume
        target = place(spec.uid(use.pod), plugin.directory, use.name)
        work = partial(plugin.grow, use, target, size.value(), is_device=is_device)
        if not await self._alone(plugin, target, work):
            return
        status = claim_growth.grown(claim, size)
        await self._objects.write_claim_status({**claim, "status": status})
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{use.name}" '
        for obj in (use.pod, claim):
            self._report(obj, "Normal", "FileSystemResizeSuccessful", text)

    async def space(self, pod: Obj) -> dict[str, Space]:
        """How full the volumes of a pod's claims are, by the pod's names for them."""
        mounts = self._mounts.get(spec.uid(pod), {})
        found = await asyncio.gather(*(self._space(plugin, use) for plugin, use in mounts.values()))
        return {name: held for name, held in zip(mounts, found, strict=True) if held is not None}

    async def _space(self, plugin: Plugin, use: Use) -> Space | None:
        """Ask one volume; one that is long about it is not asked again until it has answered."""
        target = self._paths.volume(spec.uid(use.pod), plugin.directory, use.name)
        if target not in self._asked:
            self._asked[target] = asyncio.create_task(plugin.space(use, target))
        asked = self._asked[target]
        await asyncio.wait({asked}, timeout=SPACE_SECONDS)
        if not asked.done():
            return None
        self._asked.pop(target, None)
        try:
            return asked.result()
        except (VolumeError, OSError) as error:
            logger.info("volume %s does not say how full it is: %s", use.name, error)
            return None

    async def sweep(self) -> None:
        """Undo what an earlier kubelet began and no pod uses; call it before any pod is set up."""
        for plugin in self._plugins.values():
            try:
                await plugin.sweep()
            except (VolumeError, OSError) as error:
                logger.warning("unused volumes stay mounted: %s", error)

    async def tear_down(self, uid: str) -> None:
        """Give back all volumes of a pod; raises OSError, VolumeError if one cannot be yet."""
        self._mounts.pop(uid, None)
        for plugin in self._plugins.values():
            for target in await self._places(self._paths.volume(uid, plugin.directory, "x")):
                self._asked.pop(target, None)
                plugin.hurry(target)
                await self._alone(plugin, target, partial(plugin.unmount, uid, target.name, target))
            for mark in await self._places(self._paths.device(uid, plugin.directory, "x")):
                await self._alone(plugin, mark, partial(plugin.unmap, uid, mark.name, mark))

    async def _places(self, example: Path) -> list[Path]:
        """What there is beside a place."""

        def found() -> list[Path]:
            return sorted(example.parent.iterdir()) if example.parent.is_dir() else []

        return await asyncio.to_thread(found)

    async def _alone(
        self, plugin: Plugin, place: Path, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Do one thing at a time with a volume, or with a pod's place of it, and each to its end.

        A pod that is over stops waiting at once, but a mount on its way cannot be stopped: what is
        to undo it has to come after it.
        """
        key = place.name if plugin.is_shared else str(place)
        lock = self._locks.setdefault(key, asyncio.Lock())

        async def locked() -> T:
            async with lock:
                return await work()

        task = asyncio.create_task(locked())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # Its failure is told to the one who waits, or to nobody.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)


def _is_ready(plugin: Plugin, target: Path) -> bool:
    """Make the pod's place; True if the volume is there already, which may not answer."""
    if plugin.is_ready(target):
        return True
    if not mounting.is_mount_point(target):
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
    return False


def _check_mode(pod: Obj, name: str, volume: Obj) -> None:
    """Containers take a block volume as a device, and any other as a directory."""
    mode = volumes.volume_mode(volume)
    wrong = "volumeMounts" if mode == _BLOCK else "volumeDevices"
    for container in spec.all_containers(pod):
        if any(one["name"] == name for one in container.get(wrong) or ()):
            raise VolumeError(f"volume {name} has volumeMode {mode}, but is specified in {wrong}")
