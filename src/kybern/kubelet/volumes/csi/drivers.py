"""The drivers of this node, as they register and go."""

import logging
import re
from collections.abc import Awaitable, Callable

from kybern.api.errors import StatusError
from kybern.client.transport import ApiUnreachable
from kybern.kubelet.plugins.registry import PluginRefused
from kybern.kubelet.volumes.csi.driver import Driver, csi
from kybern.kubelet.volumes.csi.node_info import NodeInfo
from kybern.kubelet.volumes.payloads import VolumeError

logger = logging.getLogger(__name__)

_VERSION = re.compile(r"v?(\d+)\.(\d+)(\.\d+)?")
_MAJOR = 1


class Drivers:
    """Drivers by name: the plugin registry's handler for the type ``CSIPlugin``."""

    def __init__(self, node_info: NodeInfo) -> None:
        self._node_info = node_info
        self._drivers: dict[str, Driver] = {}
        self.on_registered: Callable[[Driver], Awaitable[None]] | None = None

    async def prepare(self) -> None:
        """Publish that the node is ready for drivers."""
        await self._node_info.ensure()

    def get(self, name: str) -> Driver:
        """The driver; VolumeError while it has not registered."""
        driver = self._drivers.get(name)
        if driver is None:
            raise VolumeError(f"driver name {name} not found in the list of registered CSI drivers")
        return driver

    async def register(self, name: str, endpoint: str, versions: list[str]) -> None:
        if not any(_is_known(version) for version in versions):
            raise PluginRefused(
                f"none of the versions {versions} of CSI driver {name} is supported"
            )
        driver = Driver(name, endpoint)
        try:
            info = await driver.call("NodeGetInfo", csi.NodeGetInfoRequest())
            await self._node_info.install(name, info)
        except (VolumeError, StatusError, ApiUnreachable) as error:
            await driver.close()
            raise PluginRefused(str(error)) from error
        await self._forget(name)
        self._drivers[name] = driver
        if self.on_registered is not None:
            await self.on_registered(driver)

    async def deregister(self, name: str) -> None:
        await self._forget(name)
        try:
            await self._node_info.uninstall(name)
        except (StatusError, ApiUnreachable) as error:
            logger.warning("CSI driver %s stays in the CSINode: %s", name, error)

    async def close(self) -> None:
        for name in list(self._drivers):
            await self._forget(name)

    async def _forget(self, name: str) -> None:
        if known := self._drivers.pop(name, None):
            await known.close()


def _is_known(version: str) -> bool:
    found = _VERSION.fullmatch(version)
    return found is not None and int(found[1]) == _MAJOR
