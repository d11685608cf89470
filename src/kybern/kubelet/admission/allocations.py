"""The resources that pods were granted: one small file per pod, beside the pod's volumes.

A spec may ask for more than the node can give for now; everything the kubelet does with a pod it
does with :meth:`Allocations.granted`, the pod with the resources it was last granted.
"""

import asyncio
from pathlib import Path

import orjson

from kybern.api.errors import Obj
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec

_FILE = "allocation.json"
_POD_LEVEL = ""

# Resource requirements by container name, the pod's own under the empty name; None if unset.
Grant = dict[str, Obj | None]


def asked(pod: Obj) -> Grant:
    """What the pod's spec asks for."""
    containers = (*spec.init_containers(pod), *spec.containers(pod))
    found: Grant = {container["name"]: container.get("resources") for container in containers}
    found[_POD_LEVEL] = pod["spec"].get("resources")
    return found


def resized(pod: Obj, grant: Grant) -> Obj:
    """The pod with the granted resources in place of those it asks for."""
    if asked(pod) == grant:
        return pod
    changed = _with_resources(pod["spec"], grant.get(_POD_LEVEL))
    for group in ("initContainers", "containers"):
        if group in changed:
            changed[group] = [
                _with_resources(container, grant.get(container["name"]))
                for container in changed[group]
            ]
    return {**pod, "spec": changed}


def _with_resources(holder: Obj, resources: Obj | None) -> Obj:
    kept = {key: value for key, value in holder.items() if key != "resources"}
    return kept if resources is None else {**kept, "resources": resources}


class Allocations:
    """Grants by pod UID; the memory is a copy of the disk."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._grants: dict[str, Grant] = {}
        self._unsaved: set[str] = set()

    def granted(self, pod: Obj) -> Obj:
        """The pod as it was granted; as it is, if nothing was granted yet."""
        grant = self._grants.get(spec.uid(pod))
        return pod if grant is None else resized(pod, grant)

    def known(self, uid: str) -> bool:
        """Whether the pod was granted anything, by this kubelet or an earlier one."""
        return uid in self._grants

    def covers(self, pod: Obj) -> bool:
        """Whether the pod asks for no more and no less than it was granted."""
        return self._grants.get(spec.uid(pod)) == asked(pod)

    def grant(self, pod: Obj) -> None:
        """Grant what the pod asks for. It counts at once; :meth:`save` makes it last."""
        uid, wanted = spec.uid(pod), asked(pod)
        if self._grants.get(uid) != wanted:
            self._grants[uid] = wanted
            self._unsaved.add(uid)

    def load(self) -> None:
        """Read what an earlier kubelet granted, before the first pod is judged. Blocks."""
        for file in self._paths.pods.glob(f"*/{_FILE}"):
            grant = _read(file)
            if grant is not None:
                self._grants[file.parent.name] = grant

    async def save(self, uid: str) -> None:
        """Write a new grant to disk, before anything is done by it."""
        if uid in self._unsaved:
            await asyncio.to_thread(_write, self._file(uid), self._grants[uid])
            self._unsaved.discard(uid)

    def forget(self, uid: str) -> None:
        """The pod holds nothing any more; its files go with its directory."""
        self._grants.pop(uid, None)
        self._unsaved.discard(uid)

    def _file(self, uid: str) -> Path:
        return self._paths.pod(uid) / _FILE


def _read(file: Path) -> Grant | None:
    try:
        return orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None


def _write(file: Path, grant: Grant) -> None:
    """Whole or not at all, for a kubelet may die while it writes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(orjson.dumps(grant))
    partial.replace(file)
