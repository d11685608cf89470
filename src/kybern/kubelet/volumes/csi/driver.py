"""One registered driver: its calls, and what it says that it can do."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.kubelet.volumes.payloads import VolumeError
from kybern.rpc import proto
from kybern.rpc.client import RpcError, Service, connect

csi = proto.load("csi.proto")

CALL_SECONDS = 120.0
_Capability = csi.NodeServiceCapability.RPC
STAGES = _Capability.STAGE_UNSTAGE_VOLUME
HAS_STATS = _Capability.GET_VOLUME_STATS
EXPANDS = _Capability.EXPAND_VOLUME
KNOWS_WRITERS = _Capability.SINGLE_NODE_MULTI_WRITER
TAKES_GROUP = _Capability.VOLUME_MOUNT_GROUP


class Driver:
    """A driver behind a socket; failures are VolumeErrors with gRPC's code in the text."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._channel = connect(endpoint)
        self._node = Service(self._channel, csi, "Node")
        self._abilities: frozenset[int] | None = None

    async def close(self) -> None:
        await self._channel.close()

    async def call(self, method: str, request: Any) -> Any:
        try:
            return await self._node.call(method, request, CALL_SECONDS)
        except RpcError as error:
            raise VolumeError(str(error)) from error

    async def can(self, ability: int) -> bool:
        """Whether the driver has a capability; it is asked once."""
        if self._abilities is None:
            answer = await self.call("NodeGetCapabilities", csi.NodeGetCapabilitiesRequest())
            self._abilities = frozenset(one.rpc.type for one in answer.capabilities)
        return ability in self._abilities

    async def capability(
        self,
        access_modes: Iterable[str],
        *,
        is_device: bool,
        fs_type: str = "",
        mount_options: Iterable[str] = (),
        group: int | None = None,
    ) -> Any:
        """How a volume is to be used, as drivers are told."""
        mode = _access_mode(next(iter(access_modes), ""), await self.can(KNOWS_WRITERS))
        access = csi.VolumeCapability.AccessMode(mode=mode)
        if is_device:
            return csi.VolumeCapability(
                block=csi.VolumeCapability.BlockVolume(), access_mode=access
            )
        mount = csi.VolumeCapability.MountVolume(
            fs_type=fs_type,
            mount_flags=list(mount_options),
            volume_mount_group="" if group is None else str(group),
        )
        return csi.VolumeCapability(mount=mount, access_mode=access)


def _access_mode(mode: str, knows_writers: bool) -> int:
    """Kubernetes' access mode as CSI's; older drivers know one writer only."""
    modes = csi.VolumeCapability.AccessMode
    if mode == "ReadOnlyMany":
        return int(modes.MULTI_NODE_READER_ONLY)
    if mode == "ReadWriteMany":
        return int(modes.MULTI_NODE_MULTI_WRITER)
    if not knows_writers:
        return int(modes.SINGLE_NODE_WRITER)
    if mode == "ReadWriteOncePod":
        return int(modes.SINGLE_NODE_SINGLE_WRITER)
    return int(modes.SINGLE_NODE_MULTI_WRITER)


def merged(*parts: Mapping[str, str] | None) -> dict[str, str]:
    """Maps as one; a later one wins."""
    return {key: value for part in parts for key, value in (part or {}).items()}
