"""User namespaces: pods whose root is nobody on the node (``hostUsers: false``).

Each such pod has a block of the node's ids to itself, kept beside its volumes in upstream's file
``userns``, so that a kubelet that starts again gives it to nobody else. Containers see the block
as ids from 0; the kernel maps the ids of mounted files, so volumes are written as for any pod.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson

from kybern.api.errors import Obj
from kybern.component.flags import BadFlag
from kybern.kubelet.config import Config
from kybern.kubelet.cri.client import Runtime, cri
from kybern.kubelet.paths import Paths
from kybern.kubelet.pods import spec

UNIT = 65536
_FILE = "userns"
_ALL_IDS = 2**32
_USER = "kubelet"


class UserNamespaceError(Exception):
    """The pod cannot have a user namespace now; the text says why."""


class UserNamespaces:
    """One node's blocks of ids and whose they are; ``first`` and ``count`` are those to give."""

    def __init__(
        self, paths: Paths, runtime: Runtime, size: int, first: int, count: int, max_pods: int
    ) -> None:
        if size % UNIT:
            raise BadFlag(f"kubelet user namespace length {size} is not a multiple of {UNIT}")
        if first % size:
            raise BadFlag(f"kubelet user assigned ID {first} is not a multiple of {size}")
        if first < size:
            raise BadFlag(f"kubelet user assigned ID {first} must be greater or equal to {size}")
        if count % size:
            raise BadFlag(f"kubelet user assigned IDs length {count} is not a multiple of {size}")
        if count // size < max_pods:
            raise BadFlag(f"kubelet user assigned IDs are not enough to support {max_pods} pods")
        self._paths = paths
        self._runtime = runtime
        self._size = size
        self._blocks = range(first, first + count, size)
        self._given: dict[str, int] = {}

    def load(self) -> None:
        """Read what an earlier kubelet gave. Blocks; raises BadFlag where that is in doubt."""
        for file in sorted(self._paths.pods.glob(f"*/{_FILE}")):
            uid = file.parent.name
            try:
                self._record(uid, orjson.loads(file.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise BadFlag(f'record pod mappings for existing pod "{uid}": {error}') from None

    def _record(self, uid: str, written: Obj) -> None:
        mappings = written["uidMappings"]
        if len(mappings) != 1 or mappings != written["gidMappings"]:
            raise ValueError(
                "invalid user namespace configuration: GID and UID mapping should be identical"
            )
        mapping = mappings[0]
        if mapping["containerId"] != 0:
            raise ValueError("invalid user namespace configuration: UID 0 must be mapped")
        if mapping["length"] != self._size:
            raise ValueError(f"wrong user namespace length {mapping['length']}")
        if mapping["hostId"] not in self._blocks:
            raise ValueError(f"id {mapping['hostId']} is out of range")
        if mapping["hostId"] in self._given.values():
            raise ValueError(f'range picked for pod "{uid}" already taken')
        self._given[uid] = mapping["hostId"]

    async def prepare(self, pod: Obj, handler: str) -> None:
        """Give a pod that asks for it its ids, for good; raises UserNamespaceError."""
        uid = spec.uid(pod)
        if pod["spec"].get("hostUsers") is not False:
            return
        await self._check_runtime(handler)
        if uid in self._given:
            return
        taken = set(self._given.values())
        first = next((block for block in self._blocks if block not in taken), None)
        if first is None:
            raise UserNamespaceError(
                "create user namespace: could not find an empty slot to allocate a user namespace"
            )
        self._given[uid] = first
        try:
            await asyncio.to_thread(_write, self._paths.pod(uid), first, self._size)
        except OSError as error:
            del self._given[uid]
            raise UserNamespaceError(f"create user namespace: {error}") from error

    async def _check_runtime(self, handler: str) -> None:
        """Refuse what the runtime would ignore; one that tells of no handlers is too old."""
        told = (await self._runtime.status()).runtime_handlers
        able = {each.name: each.features.user_namespaces for each in told}
        if able.get(handler):
            return
        problem = "can't set `spec.hostUsers: false`, "
        if handler:
            problem += f'RuntimeClass handler "{handler}" does not support user namespaces'
        else:
            problem += "runtime does not support user namespaces"
        if able and handler not in able:
            problem += f': the handler "{handler}" is not known'
        raise UserNamespaceError(problem)

    def options(self, pod: Obj) -> Any:
        """The pod's user namespace as the runtime's message: its own, or the node's."""
        first = self._given.get(spec.uid(pod))
        if first is None:
            return cri.UserNamespace(mode=cri.NODE)
        mapping = [cri.IDMapping(host_id=first, container_id=0, length=self._size)]
        return cri.UserNamespace(mode=cri.POD, uids=mapping, gids=mapping)

    def release(self, uid: str) -> None:
        """The pod has ended; its file goes with its directory."""
        self._given.pop(uid, None)


def make_user_namespaces(config: Config, paths: Paths, runtime: Runtime) -> UserNamespaces:
    """The node's user namespaces. Blocks; raises BadFlag where the configuration has no room."""
    size = config.user_namespaces_ids_per_pod
    if size < UNIT:
        raise BadFlag(
            f"invalid configuration: userNamespaces.idsPerPod must not be less than {UNIT}"
        )
    if size % UNIT:
        raise BadFlag(
            f"invalid configuration: userNamespaces.idsPerPod must be a multiple of {UNIT}"
        )
    if size >= _ALL_IDS:
        raise BadFlag(
            f"invalid configuration: userNamespaces.idsPerPod must not be more than {_ALL_IDS - 1}"
        )
    first, count = _subordinate_ids() or (size, (_ALL_IDS - size) // size * size)
    made = UserNamespaces(paths, runtime, size, first, count, config.max_pods)
    made.load()
    return made


def _subordinate_ids() -> tuple[int, int] | None:
    """The ids that the machine sets aside for a user ``kubelet``, where it has one."""
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return None
    command = shutil.which("getsubids")
    if command is None:
        return None
    try:
        users, groups = (
            subprocess.run(
                [command, *option, _USER], capture_output=True, text=True, check=True
            ).stdout
            for option in ((), ("-g",))
        )
    except subprocess.CalledProcessError as error:
        raise BadFlag(
            f'kubelet mappings: error retrieving additional uids for user "{_USER}": {error}'
        ) from None
    if users != groups:
        raise BadFlag(f'kubelet mappings: mismatched subuids and subgids for user "{_USER}"')
    return parse_subordinate_ids(users)


def parse_subordinate_ids(text: str) -> tuple[int, int]:
    """The first id and their number, of what ``getsubids`` says; raises BadFlag."""
    lines = text.strip("\n").split("\n")
    if len(lines) != 1:
        raise BadFlag(
            f'kubelet mappings: error parsing line "{text}": it must contain only one line'
        )
    words = lines[0].split()
    if len(words) != 4 or not (words[2].isdigit() and words[3].isdigit()):
        raise BadFlag(f'kubelet mappings: invalid line "{text}"')
    return int(words[2]), int(words[3])


def _write(directory: Path, first: int, size: int) -> None:
    """Whole, and on disk before any container runs with these ids."""
    mapping = [{"hostId": first, "containerId": 0, "length": size}]
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{_FILE}.partial"
    with partial.open("wb") as file:
        file.write(orjson.dumps({"uidMappings": mapping, "gidMappings": mapping}))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(directory / _FILE)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
