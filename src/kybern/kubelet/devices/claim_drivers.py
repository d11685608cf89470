"""The drivers that prepare resource claims, as they register and go (DRA plugins)."""

from typing import Any

from kybern.kubelet.devices.access import DeviceError
from kybern.kubelet.plugins.registry import PluginRefused
from kybern.rpc import proto
from kybern.rpc.client import RpcError, Service, connect

dra = proto.load("dra.proto")

PLUGIN_TYPE = "DRAPlugin"
# As plugins name the service and version that they serve; older ones say the bare version.
VERSIONS = frozenset({"v1.DRAPlugin", "1.0.0"})
CALL_SECONDS = 45.0


class ClaimDriver:
    """One driver behind its socket."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._channel = connect(endpoint)
        self._service = Service(self._channel, dra, "DRAPlugin")

    async def close(self) -> None:
        await self._channel.close()

    async def prepare(self, claim: Any) -> list[Any]:
        """The devices of one claim, ready for use; raises DeviceError."""
        request = dra.NodePrepareResourcesRequest(claims=[claim])
        answer = await self._call("NodePrepareResources", request)
        if claim.uid not in answer.claims:
            raise DeviceError("NodePrepareResources skipped 1 ResourceClaims")
        result = answer.claims[claim.uid]
        if result.error:
            raise DeviceError(
                f"NodePrepareResources failed for ResourceClaim {claim.name}: {result.error}"
            )
        return list(result.devices)

    async def unprepare(self, claim: Any) -> None:
        """Give the devices of one claim back; raises DeviceError."""
        request = dra.NodeUnprepareResourcesRequest(claims=[claim])
        answer = await self._call("NodeUnprepareResources", request)
        if claim.uid not in answer.claims:
            raise DeviceError("NodeUnprepareResources skipped 1 ResourceClaims")
        if error := answer.claims[claim.uid].error:
            raise DeviceError(
                f"NodeUnprepareResources failed for ResourceClaim {claim.name}: {error}"
            )

    async def _call(self, method: str, request: Any) -> Any:
        try:
            return await self._service.call(method, request, CALL_SECONDS)
        except RpcError as error:
            raise DeviceError(f"{method}: {error}") from error


class ClaimDrivers:
    """Drivers by name: the plugin registry's handler for the type ``DRAPlugin``."""

    def __init__(self) -> None:
        self._drivers: dict[str, ClaimDriver] = {}

    def get(self, name: str) -> ClaimDriver:
        """The driver; DeviceError while it has not registered."""
        driver = self._drivers.get(name)
        if driver is None:
            raise DeviceError(f"DRA driver {name} is not registered")
        return driver

    async def register(self, name: str, endpoint: str, versions: list[str]) -> None:
        if not VERSIONS.intersection(versions):
            raise PluginRefused(
                f"none of the versions {versions} of DRA driver {name} is supported"
            )
        await self.deregister(name)
        self._drivers[name] = ClaimDriver(name, endpoint)

    async def deregister(self, name: str) -> None:
        if known := self._drivers.pop(name, None):
            await known.close()

    async def close(self) -> None:
        for name in list(self._drivers):
            await self.deregister(name)
