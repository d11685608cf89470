"""Device plugins: their registration on the kubelet's socket, and what each one offers.

A plugin registers with the name of its resource and of its own socket, and then tells its devices
in a stream for as long as it lives. One that goes leaves its resource without healthy devices, so
that nothing new is scheduled for it; containers keep what they have. A kubelet that starts makes
its socket anew, which is the sign for plugins to register again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kybern.rpc.client import RpcError, Service, connect
from kybern.rpc.proto import load
from kybern.rpc.server import RpcServer, serve

logger = logging.getLogger(__name__)

api = load("device_plugin.proto")

VERSION = "v1beta1"
SOCKET = "kubelet.sock"
HEALTHY = "Healthy"
CALL_SECONDS = 30.0
MAX_PLUGINS = 128


class Plugin:
    """One plugin of one resource.

    ``devices`` are healthy or not, by id; ``nodes`` are the NUMA nodes of those that tell of any.
    """

    def __init__(self, resource: str, socket: Path) -> None:
        self.resource = resource
        self.devices: dict[str, bool] = {}
        self.nodes: dict[str, list[int]] = {}
        self.options = api.DevicePluginOptions()
        self._channel = connect(f"unix://{socket}")
        self._service = Service(self._channel, api, "DevicePlugin")

    async def run(self, on_change: Callable[[], None]) -> None:
        """Follow the plugin's devices until it goes."""
        try:
            self.options = await self._service.call(
                "GetDevicePluginOptions", api.Empty(), CALL_SECONDS
            )
            async for answer in self._service.stream("ListAndWatch", api.Empty()):
                self.devices = {each.ID: each.health == HEALTHY for each in answer.devices}
                self.nodes = {
                    each.ID: [node.ID for node in each.topology.nodes]
                    for each in answer.devices
                    if each.topology.nodes
                }
                on_change()
        except RpcError as error:
            logger.warning("device plugin of %s has gone: %s", self.resource, error)
        finally:
            self.devices = dict.fromkeys(self.devices, False)
            on_change()
            await self._channel.close()

    async def prefer(self, available: list[str], taken: list[str], count: int) -> list[str]:
        """The devices that the plugin would rather give, with those that are taken already."""
        if not self.options.get_preferred_allocation_available:
            return []
        wish = api.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=taken, allocation_size=count
        )
        request = api.PreferredAllocationRequest(container_requests=[wish])
        answer = await self._service.call("GetPreferredAllocation", request, CALL_SECONDS)
        return [device for each in answer.container_responses[:1] for device in each.deviceIDs]

    async def allocate(self, devices: list[str]) -> Any:
        """How a container reaches these devices; raises RpcError."""
        wish = api.ContainerAllocateRequest(devices_ids=devices)
        request = api.AllocateRequest(container_requests=[wish])
        answer = await self._service.call("Allocate", request, CALL_SECONDS)
        if self.options.pre_start_required:
            ready = api.PreStartContainerRequest(devices_ids=devices)
            await self._service.call("PreStartContainer", ready, CALL_SECONDS)
        return answer.container_responses[0]


class Plugins:
    """All plugins of a node, by resource; ``on_change`` is told when an offer changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._found: dict[str, Plugin] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._server: RpcServer | None = None
        # The machine's, where the topology manager asks for them.
        self.numa_nodes: Sequence[int] = ()
        self.on_change: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Listen for registrations."""
        await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
        self._server = await serve(
            self._directory / SOCKET, api, "Registration", {"Register": self._register}
        )

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def get(self, resource: str) -> Plugin | None:
        return self._found.get(resource)

    def offers(self) -> dict[str, tuple[int, int]]:
        """All devices and the healthy ones of every resource that ever had a plugin."""
        return {
            resource: (len(plugin.devices), sum(plugin.devices.values()))
            for resource, plugin in self._found.items()
        }

    async def _register(self, request: Any) -> Any:
        resource = request.resource_name
        if request.version != VERSION:
            raise RpcError(
                "INVALID_ARGUMENT",
                f'requested API version "{request.version}" is not supported by kubelet. '
                f'Supported versions are ["{VERSION}"]',
            )
        name, slash, _ = resource.partition("/")
        if not slash or name.endswith("kubernetes.io"):
            raise RpcError("INVALID_ARGUMENT", f'the ResourceName "{resource}" is invalid')
        if resource not in self._found and len(self._found) >= MAX_PLUGINS:
            raise RpcError("RESOURCE_EXHAUSTED", "too many device plugins")
        if (old := self._tasks.pop(resource, None)) is not None:
            old.cancel()
        # The endpoint is a name in our directory, whatever path the plugin puts before it.
        plugin = Plugin(resource, self._directory / Path(request.endpoint).name)
        self._found[resource] = plugin
        self._tasks[resource] = asyncio.create_task(
            plugin.run(self.on_change), name=f"device plugin {resource}"
        )
        return api.Empty()
