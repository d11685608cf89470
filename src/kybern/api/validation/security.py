"""Validation of the security contexts of pods and containers."""

import re

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from kybern.api.validation.fields import one_of, relative_path, user_id

_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = f"({_SYSCTL_SEGMENT}[\\./])*{_SYSCTL_SEGMENT}"
_sysctl = re.compile(_SYSCTL).fullmatch
_MAX_SYSCTL = 253
_MAX_PROFILE = 4095
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_GROUP_POLICIES = ("Merge", "Strict")
_FS_GROUP_POLICIES = ("Always", "OnRootMismatch")
_SELINUX_POLICIES = ("MountOption", "Recursive")


def pod_security_context(context: Obj | None, spec: Obj, path: str) -> list[FieldError]:
    """``spec.securityContext`` of a pod."""
    if not context:
        return []
    errors: list[FieldError] = []
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        errors += user_id(context.get(name), f"{path}.{name}")
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        errors += user_id(group, f"{path}.supplementalGroups[{i}]")
    if context.get("sysctls"):
        errors += _sysctls(context["sysctls"], spec, f"{path}.sysctls")
    for name, allowed in (
        ("fsGroupChangePolicy", _FS_GROUP_POLICIES),
        ("supplementalGroupsPolicy", _GROUP_POLICIES),
        ("seLinuxChangePolicy", _SELINUX_POLICIES),
    ):
        value = context.get(name)
        if value is not None and value not in allowed:
            errors.append(not_supported(f"{path}.{name}", value, allowed))
    errors += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    errors += _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    return errors


def security_context(context: Obj | None, host_users: bool, path: str) -> list[FieldError]:
    """``securityContext`` of a container."""
    if not context:
        return []
    errors = user_id(context.get("runAsUser"), f"{path}.runAsUser")
    errors += user_id(context.get("runAsGroup"), f"{path}.runAsGroup")
    proc_mount = context.get("procMount")
    if proc_mount is not None:
        if proc_mount not in ("Default", "Unmasked"):
            allowed = ("Default", "Unmasked")
            errors.append(not_supported(f"{path}.procMount", proc_mount, allowed))
        if host_users and proc_mount == "Unmasked":
            text = "`hostUsers` must be false to use `Unmasked`"
            errors.append(invalid_value(f"{path}.procMount", proc_mount, text))
    errors += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        errors += _no_escalation(context, path)
    errors += _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    return errors


def _no_escalation(context: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if context.get("privileged"):
        text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(invalid_value(path, context, text))
    for capability in (context.get("capabilities") or {}).get("add") or ():
        if capability == "CAP_SYS_ADMIN":
            text = "cannot set `allowPrivilegeEscalation` to false and "
            text += "`capabilities.Add` CAP_SYS_ADMIN"
            errors.append(invalid_value(path, context, text))
    return errors


def _seccomp(profile: Obj | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    errors: list[FieldError] = []
    if not kind:
        text = "type is required when seccompProfile is set"
        errors.append(required(f"{path}.type", text))
    elif kind not in _PROFILES:
        errors.append(not_supported(f"{path}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            text = "must be set when seccomp type is Localhost"
            errors.append(required(f"{path}.localhostProfile", text))
        else:
            errors += relative_path(local, f"{path}.localhostProfile")
    elif local is not None:
        text = "can only be set when seccomp type is Localhost"
        errors.append(invalid_value(f"{path}.localhostProfile", profile, text))
    return errors


def _app_armor(profile: Obj | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if kind == "Localhost":
        if not local:
            return [required(at, "must be set when AppArmor type is Localhost")]
        if local != local.strip():
            return [invalid_value(at, local, "must not be padded with whitespace")]
        return [too_long(at, _MAX_PROFILE)] if len(local) > _MAX_PROFILE else []
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILES:
        return one_of(kind, _PROFILES, f"{path}.type")
    if local is not None:
        return [invalid_value(at, local, "can only be set when AppArmor type is Localhost")]
    return []


def _sysctls(sysctls: list[Obj], spec: Obj, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        name, at = sysctl.get("name", ""), f"{path}[{i}].name"
        if not name:
            errors.append(required(at))
        elif len(name) > _MAX_SYSCTL or not _sysctl(name):
            text = f"must have at most {_MAX_SYSCTL} characters and match regex ^{_SYSCTL}$"
            errors.append(invalid_value(at, name, text))
        elif name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
        errors += _host_sysctl(name.replace("/", "."), name, spec, at)
    return errors


def _host_sysctl(dotted: str, name: str, spec: Obj, path: str) -> list[FieldError]:
    """Sysctls of a namespace that the pod shares with its host are the host's."""
    text = "may not be specified when '{}' is true"
    if dotted.startswith("net.") and spec.get("hostNetwork"):
        return [invalid_value(path, name, text.format("hostNetwork"))]
    ipc = dotted.startswith(("kernel.shm", "kernel.msg", "fs.mqueue.")) or dotted == "kernel.sem"
    if ipc and spec.get("hostIPC"):
        return [invalid_value(path, name, text.format("hostIPC"))]
    return []


def host_users(spec: Obj, path: str) -> list[FieldError]:
    """A pod with users of its own may not share the host's namespaces."""
    if spec.get("hostUsers") is not False:
        return []
    text = "when `hostUsers` is false"
    errors: list[FieldError] = []
    for field, shown in (
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ):
        if spec.get(field):
            errors.append(field_forbidden(f"{path}.{shown}", text))
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            if container.get("volumeDevices"):
                errors.append(field_forbidden(f"{path}.{group}[{i}].volumeDevices", text))
    return errors
