"""Security contexts: a pod's and a container's, merged, as the runtime's messages."""

from typing import Any

from kybern.api.errors import Obj
from kybern.kubelet.cri.client import cri
from kybern.kubelet.pods import spec

_MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


_INHERITED = (
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "seLinuxOptions",
    "seccompProfile",
    "appArmorProfile",
)


class NonRootError(Exception):
    """``runAsNonRoot`` is asked for and the container would run as root."""


def effective(pod: Obj, container: Obj) -> Obj:
    """The container's security context over the pod's, for the fields that both have."""
    shared = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    inherited = {key: shared[key] for key in _INHERITED if shared.get(key) is not None}
    return {**inherited, **{key: value for key, value in own.items() if value is not None}}


def namespace_options(pod: Obj, target_id: str = "") -> Any:
    """Which namespaces are the host's, the pod's or the container's own."""
    declared = pod["spec"]
    if target_id:
        pid = cri.TARGET
    elif declared.get("hostPID"):
        pid = cri.NODE
    else:
        pid = cri.POD if declared.get("shareProcessNamespace") else cri.CONTAINER
    return cri.NamespaceOption(
        network=cri.NODE if declared.get("hostNetwork") else cri.POD,
        pid=pid,
        ipc=cri.NODE if declared.get("hostIPC") else cri.POD,
        target_id=target_id,
    )


def seccomp_profile(context: Obj, localhost_root: str = "") -> Any:
    """The profile message; without a declared one the container runs unconfined, as upstream's."""
    declared = context.get("seccompProfile") or {}
    kind = declared.get("type", "Unconfined")
    if kind == "Localhost":
        reference = f"{localhost_root}/{declared.get('localhostProfile', '')}"
        return cri.SecurityProfile(
            profile_type=cri.SecurityProfile.Localhost, localhost_ref=reference
        )
    return cri.SecurityProfile(profile_type=getattr(cri.SecurityProfile, kind))


def _set_app_armor(message: Any, declared: Obj) -> None:
    """The AppArmor profile, in the field of today and in the one that older runtimes read."""
    kind, local = declared["type"], declared.get("localhostProfile", "")
    message.apparmor.profile_type = getattr(cri.SecurityProfile, kind)
    if kind == "Localhost":
        message.apparmor.localhost_ref = local
    older = {"RuntimeDefault": "runtime/default", "Localhost": f"localhost/{local}"}
    message.apparmor_profile = older.get(kind, "unconfined")


def container_security(
    pod: Obj, container: Obj, image: Any, seccomp_root: str, target_id: str = ""
) -> Any:
    """The container's security message; ``image`` says which user it would run as."""
    context = effective(pod, container)
    shared = pod["spec"].get("securityContext") or {}
    user = context.get("runAsUser")
    _check_non_root(pod, container, context, image)
    privileged = bool(context.get("privileged"))
    message = cri.LinuxContainerSecurityContext(
        namespace_options=namespace_options(pod, target_id),
        privileged=privileged,
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        no_new_privs=context.get("allowPrivilegeEscalation") is False,
        supplemental_groups=list(shared.get("supplementalGroups") or ()),
        seccomp=seccomp_profile(
            {"seccompProfile": {"type": "Unconfined"}} if privileged else context, seccomp_root
        ),
    )
    if not privileged and (declared := context.get("appArmorProfile")) is not None:
        _set_app_armor(message, declared)
    if shared.get("fsGroup") is not None:
        message.supplemental_groups.append(shared["fsGroup"])
    if shared.get("supplementalGroupsPolicy") == "Strict":
        message.supplemental_groups_policy = cri.Strict
    capabilities = context.get("capabilities") or {}
    message.capabilities.add_capabilities.extend(capabilities.get("add") or ())
    message.capabilities.drop_capabilities.extend(capabilities.get("drop") or ())
    if context.get("procMount") != "Unmasked":
        message.masked_paths.extend(_MASKED_PATHS)
        message.readonly_paths.extend(_READONLY_PATHS)
    if user is not None:
        message.run_as_user.value = user
    elif image.HasField("uid"):
        message.run_as_user.value = image.uid.value
    elif image.username:
        message.run_as_username = image.username
    if context.get("runAsGroup") is not None:
        message.run_as_group.value = context["runAsGroup"]
    return message


def _check_non_root(pod: Obj, container: Obj, context: Obj, image: Any) -> None:
    if not context.get("runAsNonRoot"):
        return
    where = f'pod: "{spec.full_name(pod)}", container: {container["name"]}'
    user = context.get("runAsUser")
    if user is not None:
        if user == 0:
            raise NonRootError(f"container's runAsUser breaks non-root policy ({where})")
        return
    if image.HasField("uid"):
        if image.uid.value == 0:
            raise NonRootError(f"container has runAsNonRoot and image will run as root ({where})")
        return
    if image.username:
        raise NonRootError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root ({where})"
        )
    raise NonRootError(f"container has runAsNonRoot and image will run as root ({where})")
