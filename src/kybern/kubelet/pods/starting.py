"""Starts a pod's sandbox and its containers: the doing part of a sync."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kybern.api.errors import Obj, StatusError
from kybern.component.duration import go_duration
from kybern.kubelet.cri.client import cri
from kybern.kubelet.cri.container_config import container_config, termination_path
from kybern.kubelet.cri.sandbox_config import sandbox_config
from kybern.kubelet.cri.security import NonRootError, container_security
from kybern.kubelet.cri.state import EXITED, RuntimePod
from kybern.kubelet.devices.access import DeviceError
from kybern.kubelet.env import ConfigError, environment
from kybern.kubelet.images.puller import Report
from kybern.kubelet.lifecycle import HookFailed
from kybern.kubelet.network_files import hosts_file, pod_dns, shown_host_name
from kybern.kubelet.parts import Parts
from kybern.kubelet.pods import spec
from kybern.kubelet.pods.failures import StartFailure, SyncFailure
from kybern.kubelet.pods.killing import kill_container
from kybern.kubelet.user_namespaces import UserNamespaceError
from kybern.kubelet.volumes.payloads import VolumeError
from kybern.kubelet.volumes.use import MountedVolume
from kybern.rpc.client import RpcError

HOSTS_PATH = "/etc/hosts"


def downward_facts(pod: Obj, parts: Parts, ips: Sequence[str]) -> dict[str, str]:
    """Downward API fields that only the node knows."""
    if spec.host_network(pod):
        ips = parts.facts.ips
    host_ips = parts.facts.ips
    return {
        "status.podIP": ips[0] if ips else "",
        "status.podIPs": ",".join(ips),
        "status.hostIP": host_ips[0] if host_ips else "",
        "status.hostIPs": ",".join(host_ips),
    }


def make_sandbox_config(pod: Obj, parts: Parts, attempt: int) -> Any:
    """The sandbox's config; the same for every container that is created in it."""
    return sandbox_config(
        pod,
        attempt,
        shown_host_name(pod, parts.dns.domain),
        str(parts.paths.logs(pod)),
        pod_dns(pod, parts.dns),
        parts.cgroups.parent(pod),
        parts.user_namespaces.options(pod),
    )


async def start_sandbox(pod: Obj, parts: Parts, attempt: int) -> None:
    """Run a fresh sandbox; raises SyncFailure after an event."""
    logs = parts.paths.logs(pod)
    await asyncio.to_thread(logs.mkdir, parents=True, exist_ok=True)
    try:
        await parts.claims.prepare(pod)
    except DeviceError as error:
        message = f"Failed to prepare dynamic resources: {error}"
        parts.report(pod, None, "Warning", "FailedPrepareDynamicResources", message)
        raise SyncFailure(message) from error
    try:
        handler = await _runtime_handler(pod, parts)
        await parts.user_namespaces.prepare(pod, handler)
        await parts.runtime.run_sandbox(make_sandbox_config(pod, parts, attempt), handler)
    except (RpcError, StatusError, UserNamespaceError) as error:
        message = f"Failed to create pod sandbox: {error}"
        parts.report(pod, None, "Warning", "FailedCreatePodSandBox", message)
        raise SyncFailure(message) from error


async def _runtime_handler(pod: Obj, parts: Parts) -> str:
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    return await parts.objects.runtime_handler(name)


class ContainerStarter:
    """Starts the containers of one pod in one sync; made anew for each."""

    def __init__(
        self,
        pod: Obj,
        parts: Parts,
        state: RuntimePod,
        volumes: Mapping[str, MountedVolume],
        hooking: set[str],
    ) -> None:
        self._pod = pod
        self._parts = parts
        self._state = state
        self._volumes = volumes
        self._hooking = hooking
        self._sandbox = state.sandboxes[0]
        self._config = make_sandbox_config(pod, parts, self._sandbox.attempt)

    async def start(self, container: Obj) -> None:
        """Image, create, start, postStart; raises StartFailure with what the status shows."""
        self._check_backoff(container)

        def report(type: str, reason: str, message: str) -> None:
            self._parts.report(self._pod, container, type, reason, message)

        try:
            self._check_image_volumes(container)
            image = await self._image(container, report)
        except StartFailure as failure:
            self._failed(container, f"Error: {failure.reason}")
            raise
        config = await self._configure(container, image)
        container_id = await self._create(container, config)
        report("Normal", "Created", "Container created")
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            self._hooking.add(container_id)
        try:
            await self._launch(container, container_id)
            report("Normal", "Started", "Container started")
            if hook:
                await self._post_start(container, container_id, hook)
        finally:
            self._hooking.discard(container_id)

    def _check_backoff(self, container: Obj) -> None:
        """A container that ended waits before it starts again, longer each time."""
        parts, pod = self._parts, self._pod
        latest = self._state.latest(container["name"])
        if latest is None or latest.state != EXITED:
            return
        key = f"{spec.uid(pod)}_{container['name']}_{spec.container_hash(container)}"
        now, finished = parts.clock.time(), latest.finished_at / 1e9
        left = parts.crash_backoff.remaining(key, finished, now)
        if left > 0:
            where = f"{container['name']} in pod {spec.full_name(pod)}"
            parts.report(
                pod,
                container,
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {where}",
            )
            delay = go_duration(parts.crash_backoff.delay(key))
            raise StartFailure(
                "CrashLoopBackOff",
                f"back-off {delay} restarting failed container={container['name']} "
                f"pod={spec.full_name(pod)}",
                retry_after=left,
            )
        parts.crash_backoff.failed(key, now)

    def _check_image_volumes(self, container: Obj) -> None:
        for mount in container.get("volumeMounts") or ():
            volume = self._volumes.get(mount["name"])
            if volume is not None and volume.failure is not None:
                raise volume.failure

    async def _image(self, container: Obj, report: Report) -> Any:
        parts, pod = self._parts, self._pod
        secrets = await parts.objects.pull_secrets(pod)
        return await parts.puller.ensure(pod, container, secrets, self._config, report)

    async def _configure(self, container: Obj, image: Any) -> Any:
        parts, pod = self._parts, self._pod
        attempt = await asyncio.to_thread(self._next_attempt, container)
        facts = downward_facts(pod, parts, self._sandbox.ips)
        try:
            variables = await environment(
                pod, container, parts.objects, facts, parts.facts.allocatable
            )
            security = container_security(
                pod, container, image, parts.seccomp_root, self._target_id(container)
            )
            users = parts.user_namespaces.options(pod)
            security.namespace_options.userns_options.CopyFrom(users)
            mounts = await parts.volumes.mounts(pod, container, self._volumes, variables)
            mounts += await asyncio.to_thread(self._own_mounts, container, attempt)
            access = await parts.devices.access(pod, container)
            access.add(await parts.claims.access(pod, container))
            devices = parts.volumes.devices(container, self._volumes)
            await parts.memory.begins(pod, container)
        except (ConfigError, DeviceError, NonRootError, VolumeError, StatusError, OSError) as error:
            message = f"Error: {error}"
            parts.report(pod, container, "Warning", "Failed", message)
            raise StartFailure("CreateContainerConfigError", str(error)) from error
        return container_config(
            pod,
            container,
            attempt=attempt,
            image_ref=image.id,
            environment={**access.environment, **variables},
            mounts=mounts,
            devices=devices,
            access=access,
            security=security,
            memory_capacity=parts.facts.memory_capacity,
            huge_page_sizes=parts.facts.huge_page_sizes,
            cpuset=parts.cpus.cpuset(spec.uid(pod), container["name"]),
            memory_nodes=parts.memory.nodes(spec.uid(pod), container["name"]),
            unified=parts.cgroups.of_containers(),
        )

    def _next_attempt(self, container: Obj) -> int:
        """One more than the runtime knows of; where it knows of none, one more than has a log."""
        name = container["name"]
        if (latest := self._state.latest(name)) is not None:
            return latest.attempt + 1
        logs = (self._parts.paths.logs(self._pod) / name).glob("*.log*")
        numbers = [path.name.partition(".")[0] for path in logs]
        return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)

    def _target_id(self, container: Obj) -> str:
        """The container whose processes an ephemeral container wants to see."""
        name = container.get("targetContainerName")
        target = self._state.latest(name) if name else None
        return target.id if target else ""

    def _own_mounts(self, container: Obj, attempt: int) -> list[Any]:
        """The hosts file and the termination message, which the kubelet itself provides. Blocks."""
        parts, pod = self._parts, self._pod
        taken = {mount["mountPath"] for mount in container.get("volumeMounts") or ()}
        result = []
        if HOSTS_PATH not in taken:
            own = Path(HOSTS_PATH).read_text() if spec.host_network(pod) else ""
            text = hosts_file(pod, self._sandbox.ips, parts.dns.domain, own)
            path = parts.paths.hosts_file(spec.uid(pod))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)
            result.append(cri.Mount(container_path=HOSTS_PATH, host_path=str(path)))
        directory = parts.paths.container(spec.uid(pod), container["name"])
        directory.mkdir(parents=True, exist_ok=True)
        message = directory / f"{attempt}-{os.urandom(4).hex()}"
        message.touch()
        # Whatever user the container runs as has to be able to write its last words.
        message.chmod(0o666)
        path_inside = termination_path(container)
        result.append(cri.Mount(container_path=path_inside, host_path=str(message)))
        return result

    async def _create(self, container: Obj, config: Any) -> str:
        try:
            return await self._parts.runtime.create_container(
                self._sandbox.id, config, self._config
            )
        except RpcError as error:
            self._failed(container, f"Error: {error.message}")
            raise StartFailure("CreateContainerError", error.message) from None

    async def _launch(self, container: Obj, container_id: str) -> None:
        try:
            await self._parts.runtime.start_container(container_id)
        except RpcError as error:
            self._failed(container, f"Error: {error.message}")
            raise StartFailure("RunContainerError", error.message) from None

    def _failed(self, container: Obj, message: str) -> None:
        self._parts.report(self._pod, container, "Warning", "Failed", message)

    async def _post_start(self, container: Obj, container_id: str, handler: Obj) -> None:
        parts, pod = self._parts, self._pod
        ip = self._sandbox.ips[0] if self._sandbox.ips else ""
        try:
            await parts.hooks.run(handler, container, container_id, ip)
        except HookFailed as error:
            message = f"PostStartHook failed: {error}"
            parts.report(pod, container, "Warning", "FailedPostStartHook", message)
            await kill_container(
                pod, container, container_id, parts, spec.grace_seconds(pod), "FailedPostStartHook"
            )
            raise StartFailure("PostStartHookError", str(error)) from None
