"""The outcome of a decision for a pod's claims: which devices each gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kybern.scheduler.devices.allocator import Chosen

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Claims with their devices, the classes that the requests name, and for which containers the
    claim of the pod's extended resources is, if it has one."""

    allocations: tuple[tuple[Obj, list[Chosen]], ...]
    classes: Mapping[str, Obj]
    mappings: Sequence[Obj] = ()
