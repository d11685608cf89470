"""CSI volumes: staged once for the node, published for each pod, and undone in reverse.

The cluster attaches a volume before the kubelet touches it (``prepare``, which may take long and
may be given up). Whether a step was done is the driver's to know: steps are repeated freely, as CSI
has it, and what a driver may have done is on record before it is called.
"""

import asyncio
import hashlib
import logging
from pathlib import Path

from kybern.api.errors import StatusError
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

    def is_ready(self, target: Path) -> bool:
        return super().is_ready(target) and not records.is_group_due(target)

    async def prepare(self, use: Use, target: Path, *, is_device: bool) -> None:
        """Note the use, and wait until the cluster has attached the volume."""
        if is_device and self._places.device(use.name, spec.uid(use.pod)).is_block_device():
            return
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
        group = await self._arguments.group_to_apply(driver, use)
        if group is not None:
            await asyncio.to_thread(records.note_group, target)
        await self._publish(driver, use, self.mount_point(target), staging)
        if group is not None:
            await asyncio.to_thread(group.apply, self.mount_point(target), read_only=use.read_only)
            await asyncio.to_thread(records.group_applied, target)

    async def _check_lifecycle(self, use: Use) -> None:
        """A driver serves pods' own volumes only if it says so."""
        name, wanted = use.source["driver"], EPHEMERAL if use.is_inline else PERSISTENT
        found = await self._objects.csi_driver(name)
        modes = ((found or {}).get("spec") or {}).get("volumeLifecycleModes") or [PERSISTENT]
        if wanted not in modes:
            why = f'only supports "{",".join(modes)}"' if found else "no CSIDriver object"
            raise VolumeError(f'volume mode "{wanted}" not supported by driver {name} ({why})')

    async def _stage(self, driver: Driver, use: Use) -> Path | None:
        """Stage a file system for all pods of the node, if the driver has that step."""
        if use.is_inline or not await driver.can(STAGES):
            return None
        record = _record(use, await self._attachments.is_needed(driver.name))
        directory = self._places.staging(record)
        await asyncio.to_thread(record.save, directory)
        await self._stage_at(directory / "globalmount", driver, use)
        return directory / "globalmount"

    async def _stage_at(
        self, path: Path, driver: Driver, use: Use, *, is_device: bool = False
    ) -> None:
        await asyncio.to_thread(path.mkdir, mode=0o750, parents=True, exist_ok=True)
        capability = await self._arguments.capability(driver, use, is_device=is_device)
        await driver.call(
            "NodeStageVolume",
            csi.NodeStageVolumeRequest(
                volume_id=_handle(use),
                publish_context=await self._attachments.publish_context(use.source),
                staging_target_path=str(path),
                volume_capability=capability,
                secrets=await self._arguments.secrets(use, "nodeStageSecretRef"),
                volume_context=use.source.get("volumeAttributes"),
            ),
        )

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
        """The pod's place goes last: while it is there, this is done again until all is undone."""
        path = self.mount_point(target)
        self._published.pop(path, None)
        record = await asyncio.to_thread(Record.load, target)
        if record is not None:
            await self._unpublish(record, path)
        await asyncio.to_thread(mounting.take_away, path)
        if record is not None:
            await self._unstage(record, besides=target)
        await asyncio.to_thread(records.forget, target)
        if record is not None:
            await self._attachments.tell()

    async def _unpublish(self, record: Record, path: Path) -> None:
        request = csi.NodeUnpublishVolumeRequest(
            volume_id=record.volumeHandle, target_path=str(path)
        )
        await self._drivers.get(record.driverName).call("NodeUnpublishVolume", request)

    async def _unstage(self, record: Record, besides: Path | None = None) -> None:
        """Undo the staging if no pod uses the volume any more, ``besides`` one that is leaving."""
        directory = self._places.staging(record)
        staged = await asyncio.to_thread(Record.load, directory)
        users = await asyncio.to_thread(self._places.users, record)
        if staged is not None and not [user for user in users if user != besides]:
            await self._unstage_at(directory / "globalmount", record)
            await asyncio.to_thread(records.forget, directory)

    async def _unstage_at(self, path: Path, record: Record) -> None:
        request = csi.NodeUnstageVolumeRequest(
            volume_id=record.volumeHandle, staging_target_path=str(path)
        )
        await self._drivers.get(record.driverName).call("NodeUnstageVolume", request)
        await asyncio.to_thread(mounting.take_away, path)

    async def undo_unused(self, driver: Driver) -> None:
        """Undo what an earlier kubelet staged and no pod uses, now that its driver is there."""
        for record in await asyncio.to_thread(list, self._places.staged()):
            if record.driverName == driver.name:
                try:
                    await self._unstage(record)
                except (VolumeError, OSError) as error:
                    logger.warning("volume %s stays staged: %s", record.volumeHandle, error)
        try:
            await self._attachments.tell()
        except StatusError as error:
            logger.warning("the Node does not say which volumes are in use: %s", error)

    # Block devices.

    async def map(self, use: Use, mark: Path) -> Path:
        driver = self._drivers.get(use.source["driver"])
        path = self._places.device(use.name, spec.uid(use.pod))
        if await asyncio.to_thread(_is_published, path, mark):
            return path
        staging = None
        if await driver.can(STAGES):
            staging = self._places.device_staging(_record(use, False))
            await self._stage_at(staging, driver, use, is_device=True)
        await self._publish(driver, use, path, staging, is_device=True)
        return path

    async def unmap(self, uid: str, name: str, mark: Path) -> None:
        """The mark goes last: while it is there, this is done again until all is undone."""
        data, path = self._places.device_data(name), self._places.device(name, uid)
        record = await asyncio.to_thread(Record.load, data)
        if record is not None:
            await self._unpublish(record, path)
        await asyncio.to_thread(_remove_device, path)
        self._published.pop(path, None)
        users = await asyncio.to_thread(self._places.device_users, name)
        if record is not None and not [user for user in users if user != mark]:
            staging = self._places.device_staging(record)
            if staging.exists():
                await self._unstage_at(staging, record)
            await asyncio.to_thread(records.forget, data)
            await asyncio.to_thread(data.parent.rmdir)
        await asyncio.to_thread(mark.unlink, missing_ok=True)
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
