"""Validation of what containers mount: ``volumeMounts`` and ``volumeDevices``."""

from kybern.api.errors import (
    FieldError,
    Obj,
    field_forbidden,
    field_not_found,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.validation.fields import no_backsteps, relative_path

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def mounts_and_devices(container: Obj, volumes: dict[str, Obj], path: str) -> list[FieldError]:
    mounts = container.get("volumeMounts") or ()
    devices = container.get("volumeDevices") or ()
    if not mounts and not devices:
        return []
    errors: list[FieldError] = []
    device_paths = {d.get("name", ""): d.get("devicePath", "") for d in devices}
    mount_paths = {m.get("name", ""): m.get("mountPath", "") for m in mounts}
    seen: set[str] = set()
    for i, mount in enumerate(mounts):
        at, where = f"{path}.volumeMounts[{i}]", mount.get("mountPath", "")
        errors += _mount(mount, volumes, device_paths, at)
        if where in seen:
            errors.append(invalid_value(f"{at}.mountPath", where, "must be unique"))
        seen.add(where)
        errors += _mount_options(mount, container, f"{path}.volumeMounts", at)
    if devices:
        errors += _devices(list(devices), volumes, mount_paths, f"{path}.volumeDevices")
    return errors


def _mount(
    mount: Obj, volumes: dict[str, Obj], device_paths: dict[str, str], path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    name, where = mount.get("name", ""), mount.get("mountPath", "")
    if not name:
        errors.append(required(f"{path}.name"))
    if name not in volumes:
        errors.append(field_not_found(f"{path}.name", name))
    if not where:
        errors.append(required(f"{path}.mountPath"))
    if name in device_paths:
        text = "must not already exist in volumeDevices"
        errors.append(invalid_value(f"{path}.name", name, text))
    if where in device_paths.values():
        text = "must not already exist as a path in volumeDevices"
        errors.append(invalid_value(f"{path}.mountPath", where, text))
    return errors


def _mount_options(mount: Obj, container: Obj, path: str, at: str) -> list[FieldError]:
    """Upstream reports these at the list, without the mount's index."""
    errors: list[FieldError] = []
    if mount.get("subPath"):
        errors += relative_path(mount["subPath"], f"{path}.subPath")
    expression = mount.get("subPathExpr")
    if expression:
        if mount.get("subPath"):
            text = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid_value(f"{at}.subPathExpr", expression, text))
        errors += relative_path(expression, f"{path}.subPathExpr")
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        if propagation not in _PROPAGATIONS:
            errors.append(not_supported(f"{path}.mountPropagation", propagation, _PROPAGATIONS))
        privileged = (container.get("securityContext") or {}).get("privileged")
        if propagation == "Bidirectional" and not privileged:
            text = "Bidirectional mount propagation is available only to privileged containers"
            errors.append(field_forbidden(f"{path}.mountPropagation", text))
    if mount.get("recursiveReadOnly") is not None:
        errors += _recursive_read_only(mount, f"{path}.recursiveReadOnly")
    return errors


def _recursive_read_only(mount: Obj, path: str) -> list[FieldError]:
    value = mount["recursiveReadOnly"]
    if value == "Disabled":
        return []
    if value not in _RECURSIVE:
        return [not_supported(path, value, _RECURSIVE)]
    errors: list[FieldError] = []
    if not mount.get("readOnly"):
        errors.append(field_forbidden(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation", "None") != "None":
        text = "may only be specified when mountPropagation is None or not specified"
        errors.append(field_forbidden(path, text))
    return errors


def _devices(
    devices: list[Obj], volumes: dict[str, Obj], mount_paths: dict[str, str], path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    paths: set[str] = set()
    for i, device in enumerate(devices):
        at, name, where = f"{path}[{i}]", device.get("name", ""), device.get("devicePath", "")
        volume = volumes.get(name)
        if not name:
            errors.append(required(f"{at}.name"))
        if name in names:
            errors.append(invalid_value(f"{at}.name", name, "must be unique"))
        if volume is None:
            errors.append(field_not_found(f"{at}.name", name))
        elif not {"persistentVolumeClaim", "ephemeral"} & volume.keys():
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
            errors.append(invalid_value(f"{at}.name", name, text + "block mode"))
        if not where:
            errors.append(required(f"{at}.devicePath"))
        if where in paths:
            errors.append(invalid_value(f"{at}.devicePath", where, "must be unique"))
        if no_backsteps(where, at):
            text = "can not contain backsteps ('..')"
            errors.append(invalid_value(f"{at}.devicePath", where, text))
        paths.add(where)
        if name in mount_paths:
            text = "must not already exist in volumeMounts"
            errors.append(invalid_value(f"{at}.name", name, text))
        if where in mount_paths.values():
            text = "must not already exist as a path in volumeMounts"
            errors.append(invalid_value(f"{at}.devicePath", where, text))
        names.add(name)
    return errors
