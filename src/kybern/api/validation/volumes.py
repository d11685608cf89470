"""Validation of a pod's volumes and of the volume sources that persistent volumes share."""

from collections.abc import Callable

from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.quantity import Quantity
from kybern.api.validation.claims import claim_template
from kybern.api.validation.environment import VOLUME_FIELDS, field_reference, resource_reference
from kybern.api.validation.fields import dns_label, file_mode, file_path, no_backsteps
from kybern.api.validation.fields import relative_path as descending_path
from kybern.api.validation.names import dns_subdomain, is_dns1123_subdomain
from kybern.api.validation.projected import projected

MORE_THAN_ONE = "may not specify more than 1 volume type"
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")

# What a source that needs no rule of its own must have, in pods and in persistent volumes.
REQUIRED_FIELDS = {
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "persistentVolumeClaim": ("claimName",),
    "cephfs": ("monitors",),
    "rbd": ("monitors", "image"),
    "cinder": ("volumeID",),
    "flexVolume": ("driver",),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "azureFile": ("secretName", "shareName"),
    "azureDisk": ("diskName", "diskURI"),
    "glusterfs": ("endpoints", "path"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "storageos": (),
    "flocker": (),
    "quobyte": ("registry", "volume"),
    "iscsi": ("targetPortal", "iqn"),
}


def volumes(held: list[Obj], path: str) -> tuple[dict[str, Obj], list[FieldError]]:
    """The sound volumes by name, and the errors of the others."""
    sound: dict[str, Obj] = {}
    errors: list[FieldError] = []
    for i, volume in enumerate(held):
        at, name = f"{path}[{i}]", volume.get("name", "")
        found = volume_source(volume, at)
        found += dns_label(name, f"{at}.name") if name else [required(f"{at}.name")]
        if name in sound:
            found.append(duplicate(f"{at}.name", name))
        if found:
            errors += found
        else:
            sound[name] = volume
    return sound, errors


def volume_source(volume: Obj, path: str) -> list[FieldError]:
    """Exactly one source, and what it needs."""
    given = [name for name, source in volume.items() if name in _RANK and source is not None]
    if not given:
        return [required(path, "must specify a volume type")]
    if len(given) > 1:
        given.sort(key=_RANK.__getitem__)
    first = given[0]
    check = _CHECKS.get(first)
    at = f"{path}.{first}"
    source = volume[first]
    errors = check(source, at) if check else needed(source, REQUIRED_FIELDS[first], at)
    return errors + [field_forbidden(f"{path}.{name}", MORE_THAN_ONE) for name in given[1:]]


def needed(source: Obj, names: tuple[str, ...], path: str) -> list[FieldError]:
    """Fields that a source cannot do without."""
    return [required(f"{path}.{name}") for name in names if not source.get(name)]


def _empty_dir(source: Obj, path: str) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and Quantity.parse(limit).nano < 0:
        text = "SizeLimit field must be a valid resource quantity"
        return [field_forbidden(f"{path}.sizeLimit", text)]
    return []


def host_path(source: Obj, path: str) -> list[FieldError]:
    where, kind = source.get("path", ""), source.get("type")
    errors = [] if where else [required(f"{path}.path")]
    errors += no_backsteps(where, f"{path}.path")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, _HOST_PATH_TYPES))
    return errors


def _git_repo(source: Obj, path: str) -> list[FieldError]:
    errors = needed(source, ("repository",), path)
    return errors + descending_path(source.get("directory", ""), f"{path}.directory")


def nfs(source: Obj, path: str) -> list[FieldError]:
    errors = needed(source, ("server", "path"), path)
    where = source.get("path", "")
    if not where.startswith("/"):
        errors.append(invalid_value(f"{path}.path", where, "must be an absolute path"))
    return errors


def fibre_channel(source: Obj, path: str) -> list[FieldError]:
    wwns, wwids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    at = f"{path}.targetWWNs"
    if not wwns and not wwids:
        return [required(at, "must specify either targetWWNs or wwids, but not both")]
    errors: list[FieldError] = []
    if wwns and wwids:
        text = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid_value(at, wwns, text))
    if wwns and lun is None:
        errors.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
    elif wwns and not 0 <= lun <= 255:  # type: ignore[operator]
        errors.append(invalid_value(f"{path}.lun", lun, "must be between 0 and 255, inclusive"))
    return errors


def _secret(source: Obj, path: str) -> list[FieldError]:
    errors = needed(source, ("secretName",), path)
    errors += file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    return errors + key_paths(source.get("items") or (), f"{path}.items")


def _config_map(source: Obj, path: str) -> list[FieldError]:
    errors = needed(source, ("name",), path)
    errors += file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    return errors + key_paths(source.get("items") or (), f"{path}.items")


def key_paths(items: "list[Obj] | tuple[()]", path: str) -> list[FieldError]:
    """``items`` of a volume: which key becomes which file."""
    errors: list[FieldError] = []
    for i, item in enumerate(items):
        at = f"{path}[{i}]"
        errors += needed(item, ("key", "path"), at)
        errors += file_path(item.get("path", ""), f"{at}.path")
        errors += file_mode(item.get("mode"), f"{at}.mode")
    return errors


def _downward(source: Obj, path: str) -> list[FieldError]:
    errors = file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or ():
        errors += downward_file(item, path)
    return errors


def downward_file(item: Obj, path: str) -> list[FieldError]:
    """One file of a downward API volume; upstream does not name its index."""
    errors = [] if item.get("path") else [required(f"{path}.path")]
    errors += file_path(item.get("path", ""), f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        errors += field_reference(field, VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            text = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid_value(path, "resource", text))
    elif resource is not None:
        errors += resource_reference(resource, f"{path}.resourceFieldRef", in_volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + file_mode(item.get("mode"), f"{path}.mode")


def _projected(source: Obj, path: str) -> list[FieldError]:
    return projected(source, path, key_paths, downward_file)


def csi_driver_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    errors: list[FieldError] = []
    if len(name) > 63:
        reason = "FieldValueTooLong"
        errors.append(FieldError(reason, path, "Too long: may not be more than 63 bytes"))
    for message in is_dns1123_subdomain(name.lower()):
        errors.append(invalid_value(path, name, message))
    return errors


def _csi(source: Obj, path: str) -> list[FieldError]:
    errors = csi_driver_name(source.get("driver", ""), f"{path}.driver")
    secret = source.get("nodePublishSecretRef")
    if secret is not None:
        name = secret.get("name", "")
        if not name:
            errors.append(required(f"{path}.nodePublishSecretRef.name"))
        else:
            errors += [invalid_value(f"{path}.name", name, m) for m in dns_subdomain(name)]
    return errors


def _ephemeral(source: Obj, path: str) -> list[FieldError]:
    template = source.get("volumeClaimTemplate")
    at = f"{path}.volumeClaimTemplate"
    return [required(at)] if template is None else claim_template(template, at)


def _image(source: Obj, path: str) -> list[FieldError]:
    errors = needed(source, ("reference",), path)
    policy = source.get("pullPolicy", "")
    if policy not in _PULL_POLICIES:
        errors.append(not_supported(f"{path}.pullPolicy", policy, _PULL_POLICIES))
    return errors


_CHECKS: dict[str, Callable[[Obj, str], list[FieldError]]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "nfs": nfs,
    "fc": fibre_channel,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "projected": _projected,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}

# The first of several sources counts in this order, whatever order they were written in.
_ORDER = (
    "emptyDir hostPath gitRepo gcePersistentDisk awsElasticBlockStore secret nfs iscsi glusterfs "
    "persistentVolumeClaim rbd cinder cephfs flocker downwardAPI fc flexVolume configMap azureFile "
    "vsphereVolume azureDisk photonPersistentDisk projected portworxVolume quobyte scaleIO "
    "storageos csi ephemeral image"
)
_RANK = {name: rank for rank, name in enumerate(_ORDER.split())}
