"""A CSI driver for tests: gRPC on real sockets, volumes that are directories or loop devices.

The node's part is what every vendor's driver has; the controller's part (provisioner and attacher)
talks to the API server as the usual sidecars do. ``calls`` keeps what the kubelet asked for.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from kybern.api import objects, volumes
from kybern.api.errors import Obj
from kybern.api.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    VOLUME_ATTACHMENTS,
)
from kybern.client import Client
from kybern.kubelet.plugins.registry import protocol as registration
from kybern.kubelet.volumes.csi.driver import csi
from kybern.rpc.proto import Protocol

NAME = "disks.example.com"
ZONE = "example.com/zone"
_Ability = csi.NodeServiceCapability.RPC


class Driver:
    """One driver on one node; sockets in ``directory``, volumes below it."""

    def __init__(self, directory: Path, registry: Path) -> None:
        self.directory = directory
        self.registry = registry / f"{NAME}-reg.sock"
        self.backing = directory / "volumes"
        self.calls: list[tuple[str, Any]] = []
        self.abilities = [
            _Ability.STAGE_UNSTAGE_VOLUME,
            _Ability.EXPAND_VOLUME,
            _Ability.GET_VOLUME_STATS,
        ]
        self.versions = ["1.0.0"]
        self.outcomes: list[Any] = []
        self.failure = ""
        # Told the name of a method that did its work, before the kubelet is.
        self.on_done: Callable[[str], None] = lambda method: None
        self._servers: list[grpc.aio.Server] = []

    async def start(self) -> None:
        self.backing.mkdir(parents=True, exist_ok=True)
        self.registry.parent.mkdir(parents=True, exist_ok=True)
        await self._serve(self.directory / "csi.sock", csi, "Node")
        await self._serve(self.registry, registration, "Registration")

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(0)
        self._servers.clear()
        for socket in (self.registry, self.directory / "csi.sock"):
            socket.unlink(missing_ok=True)

    async def _serve(self, socket: Path, protocol: Protocol, service: str) -> None:
        handlers = {}
        for name, method in protocol.services[service].items():
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                self._handler(name, method.response),
                request_deserializer=method.request.FromString,
                response_serializer=method.response.SerializeToString,
            )
        full = next(iter(protocol.services[service].values())).path.split("/")[1]
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(full, handlers),))
        server.add_insecure_port(f"unix://{socket}")
        await server.start()
        self._servers.append(server)

    def _handler(self, name: str, response: Any) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            self.calls.append((name, request))
            if self.failure and name == "NodePublishVolume":
                await context.abort(grpc.StatusCode.INTERNAL, self.failure)
            found = getattr(self, f"_{name}")(request)
            self.on_done(name)
            return response() if found is None else found

        return handle

    def asked(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    def volume_calls(self) -> list[str]:
        """The names of the calls that do something to volumes, repetitions left out."""
        kinds = ("Stage", "Unstage", "Publish", "Unpublish")
        names = [name for name, _ in self.calls if name in [f"Node{kind}Volume" for kind in kinds]]
        return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]

    # The registration.

    def _GetInfo(self, request: Any) -> Any:
        return registration.PluginInfo(
            type="CSIPlugin",
            name=NAME,
            endpoint=str(self.directory / "csi.sock"),
            supported_versions=self.versions,
        )

    def _NotifyRegistrationStatus(self, request: Any) -> None:
        self.outcomes.append(request)

    # The node service.

    def _NodeGetInfo(self, request: Any) -> Any:
        return csi.NodeGetInfoResponse(
            node_id="disk-node-1",
            max_volumes_per_node=7,
            accessible_topology=csi.Topology(segments={ZONE: "here"}),
        )

    def _NodeGetCapabilities(self, request: Any) -> Any:
        made = csi.NodeGetCapabilitiesResponse()
        for ability in self.abilities:
            made.capabilities.add().rpc.type = ability
        return made

    def _NodeStageVolume(self, request: Any) -> None:
        if request.volume_capability.WhichOneof("access_type") == "mount":
            _bind(self._data(request.volume_id), Path(request.staging_target_path))

    def _NodeUnstageVolume(self, request: Any) -> None:
        _unmount(Path(request.staging_target_path))

    def _NodePublishVolume(self, request: Any) -> None:
        target = Path(request.target_path)
        if request.volume_capability.WhichOneof("access_type") == "block":
            target.touch()
            _bind(self._device(request.volume_id), target)
            return
        target.mkdir(exist_ok=True)
        staged = request.staging_target_path
        _bind(Path(staged) if staged else self._data(request.volume_id), target)
        if request.readonly:
            subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)

    def _NodeUnpublishVolume(self, request: Any) -> None:
        target = Path(request.target_path)
        _unmount(target)
        if target.is_dir():
            target.rmdir()
        target.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["losetup", "-d", self._loop(request.volume_id)], check=True)

    def _NodeExpandVolume(self, request: Any) -> Any:
        return csi.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)

    def _NodeGetVolumeStats(self, request: Any) -> Any:
        made = csi.NodeGetVolumeStatsResponse()
        made.usage.add(available=60, total=100, used=40, unit=csi.VolumeUsage.BYTES)
        made.usage.add(available=6, total=10, used=4, unit=csi.VolumeUsage.INODES)
        return made

    def _data(self, handle: str) -> Path:
        path = self.backing / handle
        path.mkdir(exist_ok=True)
        return path

    def _device(self, handle: str) -> Path:
        image = self.backing / f"{handle}.img"
        with image.open("ab") as opened:
            opened.truncate(4 << 20)
        with contextlib.suppress(FileNotFoundError):
            return Path(self._loop(handle))
        found = subprocess.run(
            ["losetup", "--find", "--show", image], capture_output=True, text=True, check=True
        )
        return Path(found.stdout.strip())

    def _loop(self, handle: str) -> str:
        image = self.backing / f"{handle}.img"
        found = subprocess.run(
            ["losetup", "-n", "-O", "NAME", "-j", image], capture_output=True, text=True, check=True
        )
        if not found.stdout.strip():
            raise FileNotFoundError(image)
        return found.stdout.split()[0]


def _bind(source: Path, target: Path) -> None:
    if not os.path.ismount(target):
        subprocess.run(["mount", "--bind", source, target], check=True)


def _unmount(target: Path) -> None:
    subprocess.run(["umount", target], check=False, stderr=subprocess.DEVNULL)


class Controller:
    """The provisioner and the attacher of the driver."""

    def __init__(self, client: Client, driver: Driver) -> None:
        self._client = client
        self._driver = driver

    async def run(self) -> None:
        while True:
            for claim in (await self._client.list_all(PERSISTENT_VOLUME_CLAIMS))[0]:
                await self._provision(claim)
            for volume in (await self._client.list_all(PERSISTENT_VOLUMES))[0]:
                await self._reclaim(volume)
            for attachment in (await self._client.list_all(VOLUME_ATTACHMENTS))[0]:
                await self._attach(attachment)
            await asyncio.sleep(0.05)

    async def _provision(self, claim: Obj) -> None:
        if objects.annotations(claim).get(volumes.PROVISIONER) != NAME:
            return
        if claim["spec"].get("volumeName"):
            return
        name = f"pvc-{objects.uid(claim)}"
        volume = {
            "metadata": {"name": name, "annotations": {volumes.PROVISIONED_BY: NAME}},
            "spec": {
                "capacity": {"storage": volumes.requested(claim).canonical()},
                "accessModes": volumes.access_modes(claim),
                "volumeMode": volumes.volume_mode(claim),
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": volumes.storage_class(claim),
                "claimRef": volumes.claim_reference(claim),
                "csi": {
                    "driver": NAME,
                    "volumeHandle": f"disk-{objects.uid(claim)}",
                    "volumeAttributes": {"tier": "gold"},
                    **({"fsType": "ext4"} if volumes.volume_mode(claim) == "Filesystem" else {}),
                },
            },
        }
        with contextlib.suppress(Exception):
            await self._client.create(PERSISTENT_VOLUMES, volume)

    async def _reclaim(self, volume: Obj) -> None:
        source = volume["spec"].get("csi")
        if source is None or objects.status(volume).get("phase") != "Released":
            return
        shutil.rmtree(self._driver.backing / source["volumeHandle"], ignore_errors=True)
        (self._driver.backing / f"{source['volumeHandle']}.img").unlink(missing_ok=True)
        with contextlib.suppress(Exception):
            await self._client.delete(PERSISTENT_VOLUMES, objects.name(volume))

    async def _attach(self, attachment: Obj) -> None:
        if attachment["spec"]["attacher"] != NAME or objects.status(attachment).get("attached"):
            return
        done = {"status": {"attached": True, "attachmentMetadata": {"slot": "3"}}}
        name = objects.name(attachment)
        with contextlib.suppress(Exception):
            await self._client.patch(VOLUME_ATTACHMENTS, name, done, subresource="status")
