"""Classes, volumes and claims for the tests of storage."""

from typing import Any

Obj = dict[str, Any]


def storage_class(
    name: str, provisioner: str = "example.com/disks", *, delayed: bool = False, **fields: Any
) -> Obj:
    mode = "WaitForFirstConsumer" if delayed else "Immediate"
    return {
        "metadata": {"name": name, **fields.pop("metadata", {})},
        "provisioner": provisioner,
        "volumeBindingMode": mode,
        **fields,
    }


def claim(name: str, size: str = "1Gi", **spec: Any) -> Obj:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            **spec,
        },
    }


def volume(name: str, size: str = "1Gi", **spec: Any) -> Obj:
    source = {} if "csi" in spec else {"hostPath": {"path": f"/srv/{name}"}}
    return {
        "metadata": {"name": name, **spec.pop("metadata", {})},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            **source,
            **spec,
        },
    }


def csi_volume(name: str, driver: str = "disks.example.com", **spec: Any) -> Obj:
    return volume(name, csi={"driver": driver, "volumeHandle": f"handle-{name}"}, **spec)


def phase(wanted: str) -> Any:
    return lambda obj: (obj.get("status") or {}).get("phase") == wanted
