"""A container of a pod as the runtime's ContainerConfig."""

from collections.abc import Mapping, Sequence
from typing import Any

from kybern.api.errors import Obj
from kybern.kubelet import huge_pages
from kybern.kubelet.bounds import CPU_PERIOD, Limits, container_bounds
from kybern.kubelet.cri import labels
from kybern.kubelet.cri.client import cri
from kybern.kubelet.devices.access import Access
from kybern.kubelet.env import expand
from kybern.kubelet.oom_score import oom_score
from kybern.kubelet.pods import spec

DEFAULT_TERMINATION_PATH = "/dev/termination-log"


def container_config(
    pod: Obj,
    container: Obj,
    *,
    attempt: int,
    image_ref: str,
    environment: Mapping[str, str],
    mounts: Sequence[Any],
    devices: Sequence[Any] = (),
    access: Access,
    security: Any,
    memory_capacity: int,
    huge_page_sizes: Sequence[int] = (),
    cpuset: str = "",
    memory_nodes: str = "",
    unified: Mapping[str, str],
) -> Any:
    """The config of one attempt of a container; ``image_ref`` is the runtime's id of its image."""

    def expanded(words: Sequence[str] | None) -> list[str]:
        return [expand(word, environment.get) for word in words or ()]

    bounds = container_bounds(pod, container)
    held = resources(pod, container, bounds, memory_capacity, unified)
    held.cpuset_cpus, held.cpuset_mems = cpuset, memory_nodes
    held.hugepage_limits.extend(huge_pages.limits(pod, container, huge_page_sizes))
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container["name"], attempt=attempt),
        image=cri.ImageSpec(image=image_ref, user_specified_image=container.get("image", "")),
        command=expanded(container.get("command")),
        args=expanded(container.get("args")),
        working_dir=container.get("workingDir") or "",
        envs=[cri.KeyValue(key=key, value=value.encode()) for key, value in environment.items()],
        mounts=[*mounts, *access.mounts],
        devices=[*devices, *access.devices],
        CDI_devices=access.named,
        labels={
            labels.POD_NAME: pod["metadata"]["name"],
            labels.POD_NAMESPACE: pod["metadata"]["namespace"],
            labels.POD_UID: spec.uid(pod),
            labels.CONTAINER_NAME: container["name"],
        },
        annotations={
            **access.annotations,
            labels.CONTAINER_HASH: spec.container_hash(container),
            labels.RESTART_COUNT: str(attempt),
            labels.TERMINATION_MESSAGE_PATH: termination_path(container),
            labels.TERMINATION_MESSAGE_POLICY: container.get("terminationMessagePolicy", "File"),
            labels.POD_GRACE_PERIOD: str(spec.grace_seconds(pod)),
            labels.MEMORY_REQUEST: str(spec.resource_value(container, "requests", "memory")),
        },
        log_path=f"{container['name']}/{attempt}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        linux=cri.LinuxContainerConfig(resources=held, security_context=security),
    )
    users = security.namespace_options.userns_options
    for mount in config.mounts:
        # Files belong to the same ids inside a user namespace as outside.
        mount.uidMappings.extend(users.uids)
        mount.gidMappings.extend(users.gids)
    return config


def termination_path(container: Obj) -> str:
    return container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH


def resources(
    pod: Obj, container: Obj, limits: Limits, memory_capacity: int, unified: Mapping[str, str]
) -> Any:
    """CPU shares and quota, the memory limit, and how soon the kernel's OOM killer takes it.

    ``unified`` are further files of cgroup version 2 and what they hold.
    """
    return cri.LinuxContainerResources(
        cpu_shares=limits.shares,
        cpu_period=CPU_PERIOD,
        cpu_quota=limits.quota or 0,
        memory_limit_in_bytes=limits.memory or 0,
        oom_score_adj=oom_score(pod, container, memory_capacity),
        unified=unified,
    )
