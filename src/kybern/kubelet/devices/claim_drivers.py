"""The drivers that prepare resource claims, as they register and go (DRA plugins).

Of each driver it is followed whether it can be reached (``slices.py`` is told) and, where it tells,
how its devices are (``health.py``).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc

from kybern.kubelet.devices.access import DeviceError
from kybern.kubelet.plugins.registry import PluginRefused
from kybern.rpc import proto
from kybern.rpc.client import RpcError, Service, connect

logger = logging.getLogger(__name__)

dra = proto.load("dra.proto")
dra_health = proto.load("dra_health.proto")

PLUGIN_TYPE = "DRAPlugin"
# As plugins name the service and version that they serve; older ones say the bare version.
VERSIONS = frozenset({"v1.DRAPlugin", "1.0.0"})
CALL_SECONDS = 45.0
WATCH_AGAIN_SECONDS = 5.0


class ClaimDriver:
    """One driver behind its socket."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._channel = connect(endpoint)
        self._service = Service(self._channel, dra, "DRAPlugin")
        self._health = Service(self._channel, dra_health, "DRAResourceHealth")
        self._tasks: list[asyncio.Task[None]] = []

    def follow(
        self, on_reach: Callable[[bool], None], on_health: Callable[[Any | None], None]
    ) -> None:
        """Tell from now on whether the driver can be reached, and what it says of its devices;
        None when it says nothing any more."""
        self._tasks = [
            asyncio.create_task(self._follow_reach(on_reach), name=f"reach of {self.name}"),
            asyncio.create_task(self._follow_health(on_health), name=f"health of {self.name}"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _follow_reach(self, on_reach: Callable[[bool], None]) -> None:
        while True:
            state = self._channel.get_state(try_to_connect=True)
            on_reach(state is grpc.ChannelConnectivity.READY)
            await self._channel.wait_for_state_change(state)

    async def _follow_health(self, on_health: Callable[[Any | None], None]) -> None:
        request = dra_health.NodeWatchResourcesRequest()
        while True:
            try:
                async for answer in self._health.stream("NodeWatchResources", request):
                    on_health(answer.devices)
            except RpcError as error:
                if error.code == "UNIMPLEMENTED":
                    return
                logger.info("driver %s tells nothing of its devices: %s", self.name, error)
            finally:
                on_health(None)
            await asyncio.sleep(WATCH_AGAIN_SECONDS)

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
        self.on_reach: Callable[[str, bool], None] = lambda driver, is_there: None
        self.on_health: Callable[[str, Any | None], None] = lambda driver, devices: None

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
        driver = self._drivers[name] = ClaimDriver(name, endpoint)
        driver.follow(
            lambda is_there: self.on_reach(name, is_there),
            lambda devices: self.on_health(name, devices),
        )

    async def deregister(self, name: str) -> None:
        if known := self._drivers.pop(name, None):
            await known.close()
            self.on_reach(name, False)

    async def close(self) -> None:
        drivers, self._drivers = self._drivers, {}
        for driver in drivers.values():
            await driver.close()
