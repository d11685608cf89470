"""The outcome of a decision for a pod's claims: which devices each gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kybern.scheduler.devices.allocator import Chosen

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Claims with their devices, and the classes that the requests name."""

    allocations: tuple[tuple[Obj, list[Chosen]], ...]
    classes: Mapping[str, Obj]
