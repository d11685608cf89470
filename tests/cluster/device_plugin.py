"""A device plugin as its authors write one: a process that offers files as devices.

``python device_plugin.py DIRECTORY RESOURCE FILE...`` registers with the kubelet's socket in
DIRECTORY and offers one device per file, which a container finds as a variable and a mount. A line
``sick`` on standard input makes all devices unhealthy.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from kybern.rpc.client import Service, connect
from kybern.rpc.proto import load
from kybern.rpc.server import serve

api = load("device_plugin.proto")


class Plugin:
    """The service that the kubelet calls back."""

    def __init__(self, files: list[str]) -> None:
        self._files = {Path(file).name: file for file in files}
        self._health = "Healthy"
        self._changed = asyncio.Event()

    def fall_sick(self) -> None:
        self._health = "Unhealthy"
        self._changed.set()

    async def options(self, request: Any) -> Any:
        return api.DevicePluginOptions(get_preferred_allocation_available=True)

    async def list_and_watch(self, request: Any) -> AsyncIterator[Any]:
        while True:
            self._changed.clear()
            devices = [api.Device(ID=name, health=self._health) for name in self._files]
            yield api.ListAndWatchResponse(devices=devices)
            await self._changed.wait()

    async def prefer(self, request: Any) -> Any:
        (asked,) = request.container_requests
        chosen = sorted(asked.available_deviceIDs, reverse=True)[: asked.allocation_size]
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=chosen)
        return api.PreferredAllocationResponse(container_responses=[answer])

    async def allocate(self, request: Any) -> Any:
        answer = api.AllocateResponse()
        for asked in request.container_requests:
            given = answer.container_responses.add(envs={"DEVICES": " ".join(asked.devices_ids)})
            for name in asked.devices_ids:
                given.mounts.add(container_path=f"/device/{name}", host_path=self._files[name])
            given.devices.add(
                container_path="/dev/lab-null", host_path="/dev/null", permissions="rw"
            )
        return answer


async def main(directory: str, resource: str, *files: str) -> None:
    plugin = Plugin(list(files))
    functions = {
        "GetDevicePluginOptions": plugin.options,
        "ListAndWatch": plugin.list_and_watch,
        "GetPreferredAllocation": plugin.prefer,
        "Allocate": plugin.allocate,
    }
    server = await serve(Path(directory) / "lab.sock", api, "DevicePlugin", functions)
    channel = connect(f"unix://{directory}/kubelet.sock")
    request = api.RegisterRequest(version="v1beta1", endpoint="lab.sock", resource_name=resource)
    await Service(channel, api, "Registration").call("Register", request, 10)
    await channel.close()
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "sick":
            plugin.fall_sick()
    await server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
