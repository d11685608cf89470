"""Devices by name: what a container gets for ``vendor.com/class=device`` (CDI, version 1).

Runtimes that know the Container Device Interface are given the names. For the others (containerd
before 2.0, which is what Debian ships) this module reads the same specifications and says it in
the runtime's older words: variables, mounts and device files. Hooks cannot be said so.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from kybern.api import yaml
from kybern.kubelet.cri.client import cri
from kybern.kubelet.devices.access import Access, DeviceError

DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
MAX_BYTES = 4 * 1024 * 1024
_SUFFIXES = (".json", ".yaml", ".yml")

Spec = dict[str, Any]


def resolve(names: Iterable[str], directories: Iterable[Path]) -> Access:
    """The access that the names stand for. Blocks; raises DeviceError for unknown ones."""
    specs = _read(directories)
    access, kinds = Access(), []
    for name in names:
        kind, _, device = name.partition("=")
        found = [
            (spec, held)
            for spec in specs
            if spec.get("kind") == kind
            for held in spec.get("devices") or ()
            if held.get("name") == device
        ]
        if not found:
            raise DeviceError(f"unresolvable CDI devices {name}")
        # Later directories are the more specific ones.
        spec, held = found[-1]
        if spec not in kinds:
            kinds.append(spec)
            _apply(access, spec.get("containerEdits") or {}, kind)
        _apply(access, held.get("containerEdits") or {}, name)
    return access


def knows_names(runtime: str, version: str) -> bool:
    """Whether a runtime takes the names itself, as it comes from its makers."""
    major = version.lstrip("v").partition(".")[0]
    return runtime != "containerd" or (major.isdigit() and int(major) >= 2)


def _apply(access: Access, edits: Spec, name: str) -> None:
    if edits.get("hooks"):
        raise DeviceError(f"CDI device {name} needs hooks, which this container runtime has not")
    for variable in edits.get("env") or ():
        key, _, value = variable.partition("=")
        access.environment[key] = value
    for mount in edits.get("mounts") or ():
        access.mounts.append(
            cri.Mount(
                host_path=mount["hostPath"],
                container_path=mount["containerPath"],
                readonly="ro" in (mount.get("options") or ()),
            )
        )
    for node in edits.get("deviceNodes") or ():
        access.devices.append(
            cri.Device(
                host_path=node.get("hostPath") or node["path"],
                container_path=node["path"],
                permissions=node.get("permissions") or "rwm",
            )
        )


def _read(directories: Iterable[Path]) -> list[Spec]:
    """All specifications; what cannot be read counts as not there."""
    specs: list[Spec] = []
    for directory in directories:
        for path in sorted(directory.glob("*")):
            if path.suffix not in _SUFFIXES:
                continue
            try:
                with path.open("rb") as file:
                    text = file.read(MAX_BYTES)
                spec = orjson.loads(text) if path.suffix == ".json" else yaml.load(text)
            except (OSError, ValueError):
                continue
            if isinstance(spec, dict):
                specs.append(spec)
    return specs
