"""Calls to the container runtime and its image service, with messages unpacked.

Everything in the kubelet that touches containers goes through :class:`Runtime`. Failures are
:class:`kybern.rpc.client.RpcError`, whose text is what upstream shows in events.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

from kybern.kubelet.cgroups.names import CGROUPFS, SYSTEMD
from kybern.rpc.client import RpcError, Service, connect
from kybern.rpc.proto import load

cri = load("cri.proto")
_containerd = load("containerd.proto")
_snapshots = load("containerd_snapshots.proto")

CALL_TIMEOUT = 120.0
CLOSE_SECONDS = 1.0
# Where image pulls end is the registry's affair; a pull that makes no progress for this long is
# given up and tried again under back-off.
PULL_TIMEOUT = 1800.0
# containerd keeps what belongs to Kubernetes under this name.
_NAMESPACE = (("containerd-namespace", "k8s.io"),)
SNAPSHOTTER = "overlayfs"
_CGROUP_DRIVERS = {cri.SYSTEMD: SYSTEMD, cri.CGROUPFS: CGROUPFS}


class Runtime:
    """One runtime endpoint (``unix:///...``); the image service is on the same socket."""

    def __init__(self, endpoint: str) -> None:
        self._channel = connect(endpoint)
        self._runtime = Service(self._channel, cri, "RuntimeService")
        self._images = Service(self._channel, cri, "ImageService")
        self._events = Service(self._channel, _containerd, "Events")
        self._views = Service(self._channel, _snapshots, "Snapshots")
        self._commands: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Close the connection, after a moment for commands that still run."""
        if self._commands:
            await asyncio.wait(self._commands, timeout=CLOSE_SECONDS)
        await self._channel.close()

    async def version(self) -> Any:
        return await self._runtime.call("Version", cri.VersionRequest(), 5)

    async def status(self) -> Any:
        """The runtime's conditions (RuntimeReady, NetworkReady) and handlers."""
        return await self._runtime.call("Status", cri.StatusRequest(), 5)

    async def cgroup_driver(self) -> str:
        """Who makes the runtime's cgroups; empty if it does not tell, as older ones."""
        try:
            answer = await self._runtime.call("RuntimeConfig", cri.RuntimeConfigRequest(), 5)
        except RpcError as error:
            if error.code == "UNIMPLEMENTED":
                return ""
            raise
        if not answer.HasField("linux"):
            return ""
        driver = answer.linux.cgroup_driver
        if driver not in _CGROUP_DRIVERS:
            raise RpcError("UNKNOWN", f"runtime returned an unknown cgroup driver {driver}")
        return _CGROUP_DRIVERS[driver]

    # Sandboxes.

    async def run_sandbox(self, config: Any, handler: str = "") -> str:
        request = cri.RunPodSandboxRequest(config=config, runtime_handler=handler)
        call = self._runtime.call("RunPodSandbox", request, 2 * CALL_TIMEOUT)
        return (await self._to_its_end(call)).pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._runtime.call("StopPodSandbox", request, CALL_TIMEOUT)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._runtime.call("RemovePodSandbox", request, CALL_TIMEOUT)

    async def sandbox_status(self, sandbox_id: str, verbose: bool = False) -> Any:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=verbose)
        return await self._runtime.call("PodSandboxStatus", request, CALL_TIMEOUT)

    async def sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[Any]:
        request = cri.ListPodSandboxRequest(filter=cri.PodSandboxFilter(label_selector=labels))
        return (await self._runtime.call("ListPodSandbox", request, CALL_TIMEOUT)).items

    # Containers.

    async def create_container(self, sandbox_id: str, config: Any, sandbox_config: Any) -> str:
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox_config
        )
        call = self._runtime.call("CreateContainer", request, CALL_TIMEOUT)
        return (await self._to_its_end(call)).container_id

    async def start_container(self, container_id: str) -> None:
        request = cri.StartContainerRequest(container_id=container_id)
        await self._to_its_end(self._runtime.call("StartContainer", request, CALL_TIMEOUT))

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """TERM, then KILL when the grace is over; returns when the container is gone."""
        request = cri.StopContainerRequest(container_id=container_id, timeout=grace_seconds)
        await self._runtime.call("StopContainer", request, CALL_TIMEOUT + grace_seconds)

    async def remove_container(self, container_id: str) -> None:
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._runtime.call("RemoveContainer", request, CALL_TIMEOUT)

    async def containers(self, labels: Mapping[str, str] | None = None) -> Sequence[Any]:
        request = cri.ListContainersRequest(filter=cri.ContainerFilter(label_selector=labels))
        return (await self._runtime.call("ListContainers", request, CALL_TIMEOUT)).containers

    async def container_status(self, container_id: str, verbose: bool = False) -> Any:
        request = cri.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return await self._runtime.call("ContainerStatus", request, CALL_TIMEOUT)

    async def update_resources(self, container_id: str, resources: Any) -> None:
        """Change a container's limits while it runs."""
        request = cri.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        await self._runtime.call("UpdateContainerResources", request, CALL_TIMEOUT)

    async def reopen_log(self, container_id: str) -> None:
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._runtime.call("ReopenContainerLog", request, CALL_TIMEOUT)

    async def container_stats(self) -> Sequence[Any]:
        request = cri.ListContainerStatsRequest()
        return (await self._runtime.call("ListContainerStats", request, CALL_TIMEOUT)).stats

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> tuple[int, bytes, bytes]:
        """Run a command inside: exit code, output, error output. ``timeout`` 0 waits for ever.

        A caller that is cancelled leaves the command to its end: a containerd shim whose command is
        withdrawn while it starts hangs, and with it every later call for that container.
        """
        request = cri.ExecSyncRequest(
            container_id=container_id, cmd=command, timeout=max(0, int(timeout))
        )
        limit = timeout + CALL_TIMEOUT if timeout else None
        answer = await asyncio.shield(self._begin(self._runtime.call("ExecSync", request, limit)))
        return answer.exit_code, answer.stdout, answer.stderr

    async def _to_its_end(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Wait for a call, also when cancelled: only then is that passed on.

        A container whose start is withdrawn counts as one that failed by itself, and the status
        of a pod that was only deleted would say so. A sandbox that is withdrawn may be made
        nevertheless, after its pod was cleaned up.
        """
        task = self._begin(call)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,))
            raise

    def _begin(self, call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(call)
        self._commands.add(task)
        task.add_done_callback(self._command_ended)
        return task

    def _command_ended(self, task: asyncio.Task[Any]) -> None:
        self._commands.discard(task)
        if not task.cancelled():
            # Its failure is told to the caller, if there still is one.
            task.exception()

    async def exec_url(self, container_id: str, command: Sequence[str], **streams: bool) -> str:
        request = cri.ExecRequest(container_id=container_id, cmd=command, **streams)
        return (await self._runtime.call("Exec", request, CALL_TIMEOUT)).url

    async def attach_url(self, container_id: str, **streams: bool) -> str:
        request = cri.AttachRequest(container_id=container_id, **streams)
        return (await self._runtime.call("Attach", request, CALL_TIMEOUT)).url

    async def port_forward_url(self, sandbox_id: str) -> str:
        request = cri.PortForwardRequest(pod_sandbox_id=sandbox_id)
        return (await self._runtime.call("PortForward", request, CALL_TIMEOUT)).url

    # Images.

    async def images(self) -> Sequence[Any]:
        return (await self._images.call("ListImages", cri.ListImagesRequest(), CALL_TIMEOUT)).images

    async def image(self, reference: str) -> Any | None:
        """The image of that name or id, or None if the node does not have it."""
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=reference))
        answer = await self._images.call("ImageStatus", request, CALL_TIMEOUT)
        return answer.image if answer.image.id else None

    async def pull_image(self, reference: str, auth: Any, sandbox_config: Any) -> str:
        request = cri.PullImageRequest(
            image=cri.ImageSpec(image=reference, user_specified_image=reference),
            auth=auth,
            sandbox_config=sandbox_config,
        )
        return (await self._images.call("PullImage", request, PULL_TIMEOUT)).image_ref

    async def remove_image(self, image_id: str) -> None:
        """Remove an image with all its names."""
        request = cri.RemoveImageRequest(image=cri.ImageSpec(image=image_id))
        await self._images.call("RemoveImage", request, CALL_TIMEOUT)

    async def image_file_systems(self) -> Sequence[Any]:
        """Where images lie, and what they use there."""
        request = cri.ImageFsInfoRequest()
        answer = await self._images.call("ImageFsInfo", request, CALL_TIMEOUT)
        return answer.image_filesystems

    async def view_image(self, key: str, image_id: str) -> Sequence[Any]:
        """How to mount an image's content read-only; the view of that key lasts until removed.

        It is containerd's own way; other runtimes answer UNIMPLEMENTED.
        """
        request = cri.ImageStatusRequest(image=cri.ImageSpec(image=image_id), verbose=True)
        answer = await self._images.call("ImageStatus", request, CALL_TIMEOUT)
        view = _snapshots.ViewSnapshotRequest(
            snapshotter=SNAPSHOTTER,
            key=key,
            parent=json.loads(answer.info["info"])["chainID"] if answer.info else "",
            labels={"containerd.io/gc.root": ""},
        )
        try:
            found = await self._views.call("View", view, CALL_TIMEOUT, _NAMESPACE)
        except RpcError as error:
            if error.code != "ALREADY_EXISTS":
                raise
            known = _snapshots.MountsRequest(snapshotter=SNAPSHOTTER, key=key)
            found = await self._views.call("Mounts", known, CALL_TIMEOUT, _NAMESPACE)
        return found.mounts

    async def remove_view(self, key: str) -> None:
        """Give up a view of an image; harmless if there is none."""
        request = _snapshots.RemoveSnapshotRequest(snapshotter=SNAPSHOTTER, key=key)
        try:
            await self._views.call("Remove", request, CALL_TIMEOUT, _NAMESPACE)
        except RpcError as error:
            if not is_gone(error):
                raise

    async def task_events(self) -> AsyncIterator[str]:
        """Topics of containerd's task events, as they happen.

        Runtimes other than containerd answer UNIMPLEMENTED, which ends in :class:`RpcError`.
        """
        request = _containerd.SubscribeRequest(filters=['topic~="^/tasks/(exit|oom|start)"'])
        async for envelope in self._events.stream("Subscribe", request, _NAMESPACE):
            yield envelope.topic


def is_gone(error: RpcError) -> bool:
    """Whether a call failed because its sandbox or container no longer exists."""
    return error.code == "NOT_FOUND" or "not found" in error.message.lower()
