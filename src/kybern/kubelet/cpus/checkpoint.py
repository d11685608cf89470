"""The file ``cpu_manager_state``: who has which CPUs, in upstream's form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from kybern.kubelet import checkpoints
from kybern.kubelet.checkpoints import Damaged
from kybern.kubelet.cpus.cpuset import NO_CPUS, Cpus, parse, shown

FILE = "cpu_manager_state"

# CPUs by pod UID and container name.
Assignments = dict[str, dict[str, Cpus]]


@dataclass(slots=True)
class State:
    """The shared pool, and what is assigned exclusively."""

    shared: Cpus = NO_CPUS
    assignments: Assignments = field(default_factory=dict)

    def copy(self) -> "State":
        """A state that stays as it is while this one changes."""
        return State(self.shared, {uid: dict(given) for uid, given in self.assignments.items()})

    @property
    def assigned(self) -> Cpus:
        """All CPUs that are exclusively somebody's."""
        every = (cpus for given in self.assignments.values() for cpus in given.values())
        return NO_CPUS.union(*every)


def restore(root: Path, policy: str) -> State:
    """What an earlier kubelet kept, an empty state if there was none. Blocks; raises BadFlag."""
    found = checkpoints.restore(root / FILE, "CPU", lambda text: _parse(text, policy))
    if found is None:
        found = State()
        save(root, policy, found)
    return found


def save(root: Path, policy: str, state: State) -> None:
    """Write the state, whole or not at all, even if the machine fails meanwhile. Blocks."""
    entries = {
        uid: {name: shown(cpus) for name, cpus in sorted(given.items())}
        for uid, given in sorted(state.assignments.items())
    }
    shared = shown(state.shared)
    document: dict[str, object] = {"policyName": policy, "defaultCpuSet": shared}
    if entries:
        document["entries"] = entries
    document["checksum"] = checksum(policy, shared, entries)
    checkpoints.write(root / FILE, document)


def _parse(text: bytes, policy: str) -> State:
    document = orjson.loads(text)
    if not isinstance(document, dict):
        raise Damaged("checkpoint is corrupted")
    entries = document.get("entries") or {}
    written = document.get("policyName", "")
    shared = document.get("defaultCpuSet", "")
    try:
        # A file without a checksum comes from before there were any.
        counted = document.get("checksum") or checksum(written, shared, entries)
        intact = counted == checksum(written, shared, entries)
    except (AttributeError, TypeError):
        intact = False
    if not intact:
        raise Damaged("checkpoint is corrupted")
    if written != policy:
        raise Damaged(
            f'configured policy "{policy}" differs from state checkpoint policy "{written}"'
        )
    return State(_cpus("default cpu set", shared), _assignments(entries))


def _assignments(entries: Mapping[str, Mapping[str, str]]) -> Assignments:
    return {
        uid: {
            name: _cpus("cpuset", text, f' for container "{name}" in pod "{uid}"')
            for name, text in given.items()
        }
        for uid, given in entries.items()
    }


def _cpus(what: str, text: str, where: str = "") -> Cpus:
    try:
        return parse(text)
    except ValueError as error:
        raise Damaged(f'could not parse {what} "{text}"{where}: {error}') from None


def checksum(policy: str, shared: str, entries: Mapping[str, Mapping[str, str]]) -> int:
    """FNV-1a over the state as Go's debugging print shows it, which is how upstream counts it."""
    pods = " ".join(
        f"{uid}:map[{' '.join(f'{name}:{cpus}' for name, cpus in sorted(given.items()))}]"
        for uid, given in sorted(entries.items())
    )
    text = (
        f"(*state.CPUManagerCheckpoint){{PolicyName:(string){policy} "
        f"DefaultCPUSet:(string){shared} Entries:(map[string]map[string]string)map[{pods}] "
        "Checksum:(checksum.Checksum)0}"
    )
    return checkpoints.fnv(text)
