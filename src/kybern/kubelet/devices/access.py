"""How a container reaches the devices that it was given: the runtime's messages for it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Access:
    """Variables, mounts, device files, annotations, and devices that the runtime knows by name."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: list[Any] = field(default_factory=list)
    devices: list[Any] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    named: list[Any] = field(default_factory=list)
