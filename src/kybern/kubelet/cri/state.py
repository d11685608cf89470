"""What the runtime holds of one pod, as plain data.

:class:`StateReader` asks the runtime and builds :class:`RuntimePod`; actions and status are
computed from it. Statuses of exited containers never change and those of running ones only with
their state, so they are kept by (id, state) and a quiet pod costs two list calls.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kybern.kubelet.bounds import Bounds
from kybern.kubelet.cgroups.tree import Cgroups
from kybern.kubelet.cri import labels
from kybern.kubelet.cri.client import Runtime, cri, is_gone
from kybern.kubelet.cri.listing import Listing
from kybern.rpc.client import RpcError

CREATED = "created"
RUNNING = "running"
EXITED = "exited"
UNKNOWN = "unknown"
_STATES = {0: CREATED, 1: RUNNING, 2: EXITED, 3: UNKNOWN}

MAX_TERMINATION_MESSAGE = 4096
_PARTIAL = b"P"
MAX_LOG_MESSAGE = 2048
MAX_LOG_LINES = 80
MAX_KEPT_STATUSES = 4096


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container the runtime knows; times are nanoseconds since the epoch, 0 if unset.

    ``bounds`` is what the kernel holds of a running one, ``memory_request`` what it was made with;
    None where neither is known.
    """

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: str
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    hash: str = ""
    log_path: str = ""
    bounds: Bounds | None = None
    memory_request: int | None = None


@dataclass(frozen=True, slots=True)
class SandboxState:
    """One sandbox the runtime knows."""

    id: str
    attempt: int
    ready: bool
    created_at: int = 0
    host_network: bool = False
    ips: tuple[str, ...] = ()


@dataclass(slots=True)
class RuntimePod:
    """All sandboxes and containers of one pod, newest first."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandboxes: list[SandboxState] = field(default_factory=list)
    containers: list[ContainerState] = field(default_factory=list)

    def latest(self, name: str) -> ContainerState | None:
        """The newest container of that name."""
        return next((c for c in self.containers if c.name == name), None)

    def running(self) -> list[ContainerState]:
        return [c for c in self.containers if c.state in (RUNNING, CREATED, UNKNOWN)]

    @property
    def ips(self) -> tuple[str, ...]:
        """Addresses of the newest sandbox while it is ready."""
        if self.sandboxes and self.sandboxes[0].ready:
            return self.sandboxes[0].ips
        return ()


class StateReader:
    """Reads pods from the runtime, keeping what cannot have changed."""

    def __init__(self, runtime: Runtime, cgroups: Cgroups) -> None:
        self._runtime = runtime
        self._listing = Listing(runtime)
        self._cgroups = cgroups
        self._containers: OrderedDict[tuple[str, int], ContainerState] = OrderedDict()
        self._sandboxes: OrderedDict[tuple[str, int], SandboxState] = OrderedDict()

    async def pod(self, uid: str) -> RuntimePod:
        """The runtime's present view of a pod; empty if it knows nothing of it."""
        held = await self._listing.of_pod(uid)
        found = RuntimePod(uid)
        for item in held.sandboxes:
            found.name, found.namespace = item.metadata.name, item.metadata.namespace
            if (sandbox := await self._sandbox(item)) is not None:
                found.sandboxes.append(sandbox)
        for item in held.containers:
            found.name = item.labels.get(labels.POD_NAME, found.name)
            found.namespace = item.labels.get(labels.POD_NAMESPACE, found.namespace)
            if (container := await self._container(item, uid)) is not None:
                found.containers.append(container)
        found.sandboxes.sort(key=lambda s: s.created_at, reverse=True)
        found.containers.sort(key=lambda c: c.created_at, reverse=True)
        return found

    def forget(self, container_id: str) -> None:
        """Read a running container anew the next time, because its limits were changed."""
        self._containers.pop((container_id, cri.CONTAINER_RUNNING), None)

    async def _sandbox(self, item: Any) -> SandboxState | None:
        key = (item.id, item.state)
        if key in self._sandboxes:
            return self._sandboxes[key]
        try:
            status = (await self._runtime.sandbox_status(item.id)).status
        except RpcError as error:
            if is_gone(error):
                return None
            raise
        network = status.network
        sandbox = SandboxState(
            id=item.id,
            attempt=item.metadata.attempt,
            ready=status.state == cri.SANDBOX_READY,
            created_at=item.created_at,
            host_network=status.linux.namespaces.options.network == cri.NODE,
            ips=tuple(ip for ip in (network.ip, *(a.ip for a in network.additional_ips)) if ip),
        )
        _keep(self._sandboxes, (item.id, status.state), sandbox)
        return sandbox

    async def _container(self, item: Any, uid: str) -> ContainerState | None:
        key = (item.id, item.state)
        if key in self._containers:
            return self._containers[key]
        try:
            status = (await self._runtime.container_status(item.id)).status
        except RpcError as error:
            if is_gone(error):
                return None
            raise
        container = ContainerState(
            id=item.id,
            sandbox_id=item.pod_sandbox_id,
            name=item.metadata.name,
            attempt=int(status.annotations.get(labels.RESTART_COUNT) or item.metadata.attempt),
            state=_STATES[status.state],
            created_at=status.created_at,
            started_at=status.started_at,
            finished_at=status.finished_at,
            exit_code=status.exit_code,
            reason=status.reason,
            message=_termination_message(status),
            image=status.image.image,
            image_ref=status.image_ref,
            hash=status.annotations.get(labels.CONTAINER_HASH, ""),
            log_path=status.log_path,
            bounds=self._bounds(uid, item.id, status.state),
            memory_request=_number(status.annotations.get(labels.MEMORY_REQUEST)),
        )
        if status.state in (cri.CONTAINER_RUNNING, cri.CONTAINER_EXITED):
            _keep(self._containers, (item.id, status.state), container)
        return container

    def _bounds(self, uid: str, container_id: str, state: int) -> Bounds | None:
        if state != cri.CONTAINER_RUNNING:
            return None
        return self._cgroups.container_bounds(uid, container_id)


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _keep(kept: OrderedDict[tuple[str, int], Any], key: tuple[str, int], value: Any) -> None:
    kept[key] = value
    if len(kept) > MAX_KEPT_STATUSES:
        kept.popitem(last=False)


def _termination_message(status: Any) -> str:
    """What the container wrote about its own end, or the tail of its log where the pod asks."""
    if status.state != cri.CONTAINER_EXITED:
        return ""
    path = status.annotations.get(labels.TERMINATION_MESSAGE_PATH, "")
    written = _mounted_file(status, path)
    if written:
        return _joined(written, status.message)
    policy = status.annotations.get(labels.TERMINATION_MESSAGE_POLICY, "")
    if policy == "FallbackToLogsOnError" and status.exit_code != 0 and status.log_path:
        return _joined(tail_of_log(Path(status.log_path)), status.message)
    return status.message


def _joined(text: str, runtime_message: str) -> str:
    return f"{runtime_message}: {text}" if runtime_message else text


def _mounted_file(status: Any, path: str) -> str:
    for mount in status.mounts:
        if path and mount.container_path == path:
            try:
                with open(mount.host_path, "rb") as file:
                    return file.read(MAX_TERMINATION_MESSAGE).decode(errors="replace")
            except OSError as error:
                return f"Error on reading termination log {mount.host_path}: {error.strerror}"
    return ""


def tail_of_log(path: Path) -> str:
    """The last lines of a log in CRI format, without their prefixes.

    A line that the container did not end has the tag for partial ones and stays open.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            # Every line carries a prefix of about 45 bytes beside its text.
            file.seek(max(0, file.tell() - MAX_LOG_MESSAGE - 64 * MAX_LOG_LINES))
            lines = file.read().split(b"\n")
    except OSError:
        return ""
    entries = [parts for parts in (line.split(b" ", 3) for line in lines) if len(parts) == 4]
    joined = b"".join(
        text if tag.startswith(_PARTIAL) else text + b"\n"
        for _, _, tag, text in entries[-MAX_LOG_LINES:]
    )
    return joined[-MAX_LOG_MESSAGE:].decode(errors="replace")
