"""Defaults of volume sources in pods and in persistent volumes."""

from typing import Any

from kybern.api.defaults.images import default_pull_policy
from kybern.api.errors import Obj

_FILE_MODE = 0o644

# What each source fills in beside the sources that need more than constants.
_CONSTANTS: dict[str, dict[str, Any]] = {
    "secret": {"defaultMode": _FILE_MODE},
    "configMap": {"defaultMode": _FILE_MODE},
    "downwardAPI": {"defaultMode": _FILE_MODE},
    "projected": {"defaultMode": _FILE_MODE},
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {
        "cachingMode": "ReadWrite",
        "kind": "Shared",
        "fsType": "ext4",
        "readOnly": False,
    },
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def default_volumes(volumes: list[Obj]) -> None:
    """Defaults of a pod's volumes; one without a source is an emptyDir."""
    for volume in volumes:
        default_volume_source(volume)
        if len(volume) == 1 and "name" in volume:
            volume["emptyDir"] = {}


def default_volume_source(volume: Obj) -> None:
    """Defaults of whichever source the volume names."""
    for source, constants in _CONSTANTS.items():
        held = volume.get(source)
        if held is None:
            continue
        for field, value in constants.items():
            if field not in held:
                held[field] = value
    if "downwardAPI" in volume:
        _field_refs(volume["downwardAPI"])
    if "projected" in volume:
        _projected(volume["projected"])
    if "ephemeral" in volume:
        template = volume["ephemeral"].get("volumeClaimTemplate")
        if template is not None:
            default_claim_spec(template.setdefault("spec", {}))
    if "image" in volume:
        _image(volume["image"])


def default_claim_spec(spec: Obj) -> None:
    """Defaults of a PersistentVolumeClaim's spec, wherever it stands."""
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"


def _projected(volume: Obj) -> None:
    for source in volume.get("sources") or ():
        if "downwardAPI" in source:
            _field_refs(source["downwardAPI"])
        token = source.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600


def _field_refs(source: Obj | None) -> None:
    for item in (source or {}).get("items") or ():
        reference = item.get("fieldRef")
        if reference is not None and not reference.get("apiVersion"):
            reference["apiVersion"] = "v1"


def _image(source: Obj) -> None:
    if not source.get("pullPolicy"):
        source["pullPolicy"] = default_pull_policy(source.get("reference", ""))
