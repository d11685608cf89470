"""CSI volumes: staged once for the node, published for each pod, and undone in reverse.

The cluster attaches a volume before the kubelet touches it (``prepare``, which may take long and
may be given up). Whether a step was done is the driver's to know: steps are repeated freely, as CSI
has it, and what a driver may have done is on record before it is called.
"""

import asyncio
import hashlib
import logging
from pathlib import Path

from kybern.component.clock import Clock
from kybern.kubelet.objects import Objects
from kybern.kubelet.pods import spec
from kybern.kubelet.volumes import mounting
from kybern.kubelet.volumes.csi import record as records
from kybern.kubelet.volumes.csi.arguments import Arguments
from kybern.kubelet.volumes.csi.attachments import Attachments
from kybern.kubelet.volumes.csi.driver import EXPANDS, HAS_STATS, STAGES, Driver, csi, merged
from kybern.kubelet.volumes.csi.drivers import Drivers
from kybern.kubelet.volumes.csi.record import EPHEMERAL, PERSISTENT, Places, Record
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.tokens import Tokens
from kybern.kubelet.volumes.use import Plugin, Space, Use

logger = logging.getLogger(__name__)

REPUBLISH_SECONDS = 60.0


class CsiVolumes(Plugin):
    """The plugin ``kubernetes.io/csi``."""

    directory = records.PLUGIN

    def __init__(
        self,
        drivers: Drivers,
        objects: Objects,
        tokens: Tokens,
        attachments: Attachments,
        places: Places,
        clock: Clock,
    ) -> None:
        self._drivers = drivers
        self._objects = objects
        self._arguments = Arguments(objects, tokens)
        self._attachments = attachments
        self._places = places
        self._clock = clock
        self._published: dict[Path, float] = {}

    def mount_point(self, target: Path) -> Path:
        return target / "mount"

    async def prepare(self, use: Use, target: Path, *, is_device: bool) -> None:
        """Note the use, and wait until the cluster has attached the volume."""
        attached = not use.is_inline and await self._attachments.is_needed(use.source["driver"])
        record = _record(use, attached)
        directory = self._places.device_data(use.name) if is_device else target
        await asyncio.to_thread(record.save, directory)
        if attached:
            await self._attachments.tell()
            await self._attachments.wait(use.source)

    # File systems.

    async def mount(self, use: Use, target: Path) -> None:
        driver = self._drivers.get(use.source["driver"])
        await self._check_lifecycle(use)
        staging = await self._stage(driver, use)
        await self._publish(driver, use, self.mount_point(target), staging)
        if group := await self._arguments.group_to_apply(driver, use):
            await asyncio.to_thread(group.apply, self.mount_point(target), read_only=use.read_only)

    async def _check_lifecycle(self, use: Use) -> None:
        """A driver serves pods' own volumes only if it says so."""
        name, wanted = use.source["driver"], EPHEMERAL if use.is_inline else PERSISTENT
        found = await self._objects.csi_driver(name)
        modes = ((found or {}).get("spec") or {}).get("volumeLifecycleModes") or [PERSISTENT]
        if wanted not in modes:
            why = f'only supports "{",".join(modes)}"' if found else "no CSIDriver object"
            raise VolumeError(f'volume mode "{wanted}" not supported by driver {name} ({why})')

    async def _stage(self, driver: Driver, use: Use) -> Path | None:
        if use.is_inline or not await driver.can(STAGES):
            return None
        record = _record(use, await self._attachments.is_needed(driver.name))
        directory = self._places.staging(record)
        await asyncio.to_thread(record.save, directory)
        path = directory / "globalmount"
        await asyncio.to_thread(path.mkdir, mode=0o750, exist_ok=True)
        await driver.call(
            "NodeStageVolume",
            csi.NodeStageVolumeRequest(
                volume_id=record.volumeHandle,
                publish_context=await self._attachments.publish_context(use.source),
                staging_target_path=str(path),
                volume_capability=await self._arguments.capability(driver, use),
                secrets=await self._arguments.secrets(use, "nodeStageSecretRef"),
                volume_context=use.source.get("volumeAttributes"),
            ),
        )
        return path

    async def _publish(
        self, driver: Driver, use: Use, path: Path, staging: Path | None, *, is_device: bool = False
    ) -> None:
        context = {}
        if not use.is_inline:
            context = await self._attachments.publish_context(use.source)
        tokens, in_secrets = await self._arguments.tokens(use)
        secrets = await self._arguments.secrets(use, "nodePublishSecretRef")
        await driver.call(
            "NodePublishVolume",
            csi.NodePublishVolumeRequest(
                volume_id=_handle(use),
                publish_context=context,
                staging_target_path=str(staging or ""),
                target_path=str(path),
                volume_capability=await self._arguments.capability(
                    driver, use, is_device=is_device
                ),
                readonly=use.read_only,
                secrets=merged(secrets, tokens if in_secrets else None),
                volume_context=merged(
                    use.source.get("volumeAttributes"),
                    await self._arguments.pod_info(use),
                    None if in_secrets else tokens,
                ),
            ),
        )
        self._published[path] = self._clock.monotonic()

    async def refresh(self, use: Use, target: Path) -> None:
        """Publish again what the driver wants to be asked for again, as for fresh tokens."""
        driver = await self._objects.csi_driver(use.source["driver"]) or {}
        path = self.mount_point(target)
        last = self._published.setdefault(path, self._clock.monotonic())
        due = self._clock.monotonic() - last >= REPUBLISH_SECONDS
        if (driver.get("spec") or {}).get("requiresRepublish") and due:
            serving = self._drivers.get(use.source["driver"])
            staged = not use.is_inline and await serving.can(STAGES)
            staging = self._places.staging(_record(use, False)) / "globalmount" if staged else None
            await self._publish(serving, use, path, staging)

    async def unmount(self, uid: str, name: str, target: Path) -> None:
        path = self.mount_point(target)
        self._published.pop(path, None)
        record = await asyncio.to_thread(Record.load, target)
        if record is not None:
            driver = self._drivers.get(record.driverName)
            request = csi.NodeUnpublishVolumeRequest(
                volume_id=record.volumeHandle, target_path=str(path)
            )
            await driver.call("NodeUnpublishVolume", request)
        await asyncio.to_thread(mounting.take_away, path)
        await asyncio.to_thread(records.forget, target)
        if record is not None:
            await self._unstage(self._places.staging(record), record)
            await self._attachments.tell()

    async def _unstage(self, directory: Path, record: Record) -> None:
        """Undo the staging if no pod uses the volume any more."""
        staged = await asyncio.to_thread(Record.load, directory)
        users = await asyncio.to_thread(self._places.users, record)
        if staged is None or users:
            return
        path = directory / "globalmount"
        driver = self._drivers.get(record.driverName)
        request = csi.NodeUnstageVolumeRequest(
            volume_id=record.volumeHandle, staging_target_path=str(path)
        )
        await driver.call("NodeUnstageVolume", request)
        await asyncio.to_thread(mounting.take_away, path)
        await asyncio.to_thread(records.forget, directory)

    async def undo_unused(self, driver: Driver) -> None:
        """Undo what an earlier kubelet staged and no pod uses, now that its driver is there."""
        for directory, record in await asyncio.to_thread(list, self._places.staged()):
            if record.driverName == driver.name:
                try:
                    await self._unstage(directory, record)
                except (VolumeError, OSError) as error:
                    logger.warning("volume %s stays staged: %s", record.volumeHandle, error)

    # Block devices.

    async def map(self, use: Use, mark: Path) -> Path:
        driver = self._drivers.get(use.source["driver"])
        path = self._places.device(use.name, spec.uid(use.pod))
        if await asyncio.to_thread(_is_published, path, mark):
            return path
        record = _record(use, False)
        staging = self._places.device_staging(record) if await driver.can(STAGES) else None
        if staging is not None:
            await asyncio.to_thread(staging.mkdir, mode=0o750, parents=True, exist_ok=True)
            await driver.call(
                "NodeStageVolume",
                csi.NodeStageVolumeRequest(
                    volume_id=record.volumeHandle,
                    publish_context=await self._attachments.publish_context(use.source),
                    staging_target_path=str(staging),
                    volume_capability=await self._arguments.capability(driver, use, is_device=True),
                    secrets=await self._arguments.secrets(use, "nodeStageSecretRef"),
                    volume_context=use.source.get("volumeAttributes"),
                ),
            )
        await self._publish(driver, use, path, staging, is_device=True)
        return path

    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        data = self._places.device_data(name)
        record = await asyncio.to_thread(Record.load, data)
        path = self._places.device(name, uid)
        if record is not None:
            driver = self._drivers.get(record.driverName)
            request = csi.NodeUnpublishVolumeRequest(
                volume_id=record.volumeHandle, target_path=str(path)
            )
            await driver.call("NodeUnpublishVolume", request)
        await asyncio.to_thread(_remove_device, path)
        await asyncio.to_thread(mark.unlink, missing_ok=True)
        users = await asyncio.to_thread(self._places.device_users, name)
        if record is None or users:
            return
        staging = self._places.device_staging(record)
        if staging.exists():
            request = csi.NodeUnstageVolumeRequest(
                volume_id=record.volumeHandle, staging_target_path=str(staging)
            )
            await self._drivers.get(record.driverName).call("NodeUnstageVolume", request)
            await asyncio.to_thread(mounting.take_away, staging)
        await asyncio.to_thread(records.forget, data)
        await asyncio.to_thread(data.parent.rmdir)
        await self._attachments.tell()

    # Size.

    async def space(self, use: Use, target: Path) -> Space | None:
        driver = self._drivers.get(use.source["driver"])
        if not await driver.can(HAS_STATS):
            return None
        request = csi.NodeGetVolumeStatsRequest(
            volume_id=_handle(use), volume_path=str(self.mount_point(target))
        )
        answer = await driver.call("NodeGetVolumeStats", request)
        told = {one.unit: one for one in answer.usage}
        held = told.get(csi.VolumeUsage.BYTES, csi.VolumeUsage())
        inodes = told.get(csi.VolumeUsage.INODES, csi.VolumeUsage())
        return Space(
            held.total, held.available, held.used, inodes.total, inodes.available, inodes.used
        )

    async def grow(self, use: Use, target: Path, size: int, *, is_device: bool) -> bool:
        driver = self._drivers.get(use.source["driver"])
        if not await driver.can(EXPANDS):
            return False
        path, staging = self.mount_point(target), self._places.staging(_record(use, False))
        staged = staging / "globalmount"
        if is_device:
            path = self._places.device(use.name, spec.uid(use.pod))
            staged = self._places.device_staging(_record(use, False))
        await driver.call(
            "NodeExpandVolume",
            csi.NodeExpandVolumeRequest(
                volume_id=_handle(use),
                volume_path=str(path),
                capacity_range=csi.CapacityRange(required_bytes=size),
                staging_target_path=str(staged) if await driver.can(STAGES) else "",
                volume_capability=await self._arguments.capability(
                    driver, use, is_device=is_device
                ),
                secrets=await self._arguments.secrets(use, "nodeExpandSecretRef"),
            ),
        )
        return True


def _handle(use: Use) -> str:
    """The driver's name of a volume; a pod's own volume gets one that no other has."""
    if not use.is_inline:
        return str(use.source["volumeHandle"])
    told = f"{spec.uid(use.pod)}{use.name}"
    return f"csi-{hashlib.sha256(told.encode()).hexdigest()}"


def _record(use: Use, attached: bool) -> Record:
    mode = EPHEMERAL if use.is_inline else PERSISTENT
    return Record(use.name, use.source["driver"], _handle(use), mode, attached)


def _is_published(path: Path, mark: Path) -> bool:
    """Note the pod's use of a device; True if the driver has published it."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not mark.is_symlink():
        mark.symlink_to(path)
    return path.is_block_device()


def _remove_device(path: Path) -> None:
    """Remove a published device and the directories that it alone was in."""
    while mounting.is_mount_point(path):
        mounting.unmount(path)
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
