"""Gives devices to pods as they are admitted, and back when the pods have ended.

Which device a container has is kept beside the pod's volumes, so that a kubelet that starts again
gives it to nobody else. The plugin is asked how to reach the devices whenever a container starts.
"""

import asyncio
from pathlib import Path

import orjson

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.api.resource_claims import extended_requests
from kybern.kubelet.admission.predicates import Refusal, unexpected
from kybern.kubelet.cri.client import cri
from kybern.kubelet.devices.access import Access, DeviceError
from kybern.kubelet.devices.health import HEALTHY, UNHEALTHY
from kybern.kubelet.devices.plugins import Plugins
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec
from kybern.rpc.client import RpcError

_FILE = "devices.json"

# Device ids by container name and resource.
Given = dict[str, dict[str, list[str]]]


class DeviceManager:
    """One node's devices and who has them."""

    def __init__(self, plugins: Plugins, paths: Paths) -> None:
        self.plugins = plugins
        self._paths = paths
        self._given: dict[str, Given] = {}
        self._choosing = asyncio.Lock()

    def load(self) -> None:
        """Read what an earlier kubelet gave. Blocks."""
        for file in self._paths.pods.glob(f"*/{_FILE}"):
            try:
                self._given[file.parent.name] = orjson.loads(file.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                continue

    async def give(self, pod: Obj) -> Refusal | None:
        """Reserve the pod's devices; a refusal if the plugin has too few left.

        Ordinary init containers end before the others begin, who may have their devices then.
        """
        uid = spec.uid(pod)
        async with self._choosing:
            if uid in self._given:
                return None
            given: Given = {}
            again: dict[str, list[str]] = {}
            for container in (*spec.init_containers(pod), *spec.containers(pod)):
                passing = container in spec.init_containers(pod) and not spec.is_sidecar(container)
                for resource, count in self._wanted(pod, container):
                    own = again.get(resource, [])
                    free = self._free(resource, given)
                    if len(own) + len(free) < count:
                        return _too_few(resource, count, len(own) + len(free))
                    fresh = await self._choose(resource, free, max(0, count - len(own)))
                    chosen = own[:count] + fresh
                    given.setdefault(container["name"], {})[resource] = chosen
                    again[resource] = own + fresh if passing else own[count:]
            if given:
                self._given[uid] = given
        if given:
            try:
                await asyncio.to_thread(_write, self._paths.pod(uid) / _FILE, given)
            except OSError:
                del self._given[uid]
                raise
        return None

    async def _choose(self, resource: str, free: list[str], count: int) -> list[str]:
        plugin = self.plugins.get(resource)
        if plugin is None or not count:
            return []
        try:
            return await plugin.prefer(free, count)
        except RpcError:
            return free[:count]

    def _wanted(self, pod: Obj, container: Obj) -> list[tuple[str, int]]:
        """By resource; what the container has as devices of a claim is no plugin's affair."""
        claimed = {
            each["resourceName"]
            for each in extended_requests(pod)
            if each["containerName"] == container["name"]
        }
        limits = (container.get("resources") or {}).get("limits") or {}
        return [
            (resource, count)
            for resource, amount in limits.items()
            if self.plugins.get(resource) is not None
            and resource not in claimed
            and (count := Quantity.parse(amount).value()) > 0
        ]

    def _free(self, resource: str, also: Given) -> list[str]:
        plugin = self.plugins.get(resource)
        assert plugin is not None
        taken = {
            device
            for given in (*self._given.values(), also)
            for devices in given.values()
            for device in devices.get(resource, ())
        }
        return sorted(
            device for device, healthy in plugin.devices.items() if healthy and device not in taken
        )

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


def _too_few(resource: str, wanted: int, left: int) -> Refusal:
    return unexpected(
        f"requested number of devices unavailable for {resource}. "
        f"Requested: {wanted}, Available: {left}"
    )


def _write(file: Path, given: Given) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(orjson.dumps(given))
    partial.replace(file)
