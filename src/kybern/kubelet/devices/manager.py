"""Who has which devices: given to pods as they are admitted, and back when they have ended.

Which device a container has is kept beside the pod's volumes, so that a kubelet that starts again
gives it to nobody else. The plugin is asked how to reach the devices whenever a container starts.
"""

import asyncio
from pathlib import Path

import orjson

from kybern.api.errors import Obj
from kybern.kubelet.cri.client import cri
from kybern.kubelet.devices.access import Access, DeviceError
from kybern.kubelet.devices.health import HEALTHY, UNHEALTHY
from kybern.kubelet.devices.plugins import Plugins
from kybern.kubelet.devices.share import DeviceShare, Given, wanted
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec
from kybern.rpc.client import RpcError

_FILE = "devices.json"


class DeviceManager:
    """One node's devices and who has them."""

    def __init__(self, plugins: Plugins, paths: Paths) -> None:
        self.plugins = plugins
        self._paths = paths
        self._given: dict[str, Given] = {}

    def load(self) -> None:
        """Read what an earlier kubelet gave. Blocks."""
        for file in self._paths.pods.glob(f"*/{_FILE}"):
            try:
                self._given[file.parent.name] = orjson.loads(file.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                continue

    def share(self, pod: Obj) -> DeviceShare | None:
        """What a new pod is to have of the plugins' devices; the topology manager gives it."""
        wants = any(
            wanted(self.plugins, pod, container)
            for container in (*spec.init_containers(pod), *spec.containers(pod))
        )
        return DeviceShare(self.plugins, self._given, pod, self._keep) if wants else None

    async def _keep(self, uid: str) -> None:
        if given := self._given.get(uid):
            await asyncio.to_thread(_write, self._paths.pod(uid) / _FILE, given)

    def users(self) -> list[str]:
        """The UIDs of pods that have devices."""
        return list(self._given)

    def health(self, pod: Obj, container: Obj) -> list[Obj]:
        """How the devices of a container are, as its status shows it."""
        given = self._given.get(spec.uid(pod), {}).get(container["name"], {})
        shown = []
        for resource, devices in given.items():
            plugin = self.plugins.get(resource)
            known = {} if plugin is None else plugin.devices
            resources = [
                # A device that its plugin does not name is taken to be as it was.
                {"resourceID": one, "health": HEALTHY if known.get(one, True) else UNHEALTHY}
                for one in devices
            ]
            shown.append({"name": resource, "resources": resources})
        return shown

    def release(self, uid: str) -> None:
        """The pod has ended; its file goes with its directory."""
        self._given.pop(uid, None)

    async def access(self, pod: Obj, container: Obj) -> Access:
        """How a container that starts now reaches its devices; raises DeviceError."""
        found = Access()
        for resource, devices in (
            self._given.get(spec.uid(pod), {}).get(container["name"], {}).items()
        ):
            plugin = self.plugins.get(resource)
            if plugin is None:
                raise DeviceError(f"no device plugin for {resource} has registered")
            try:
                answer = await plugin.allocate(devices)
            except RpcError as error:
                raise DeviceError(f"the device plugin of {resource}: {error}") from error
            found.environment.update(answer.envs)
            found.annotations.update(answer.annotations)
            found.mounts += [
                cri.Mount(
                    container_path=each.container_path,
                    host_path=each.host_path,
                    readonly=each.read_only,
                )
                for each in answer.mounts
            ]
            found.devices += [
                cri.Device(
                    container_path=each.container_path,
                    host_path=each.host_path,
                    permissions=each.permissions,
                )
                for each in answer.devices
            ]
            found.named += [cri.CDIDevice(name=each.name) for each in answer.cdi_devices]
        return found


def _write(file: Path, given: Given) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(orjson.dumps(given))
    partial.replace(file)
