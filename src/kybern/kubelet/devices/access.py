"""How a container reaches the devices that it was given: the runtime's messages for it."""

from dataclasses import dataclass, field
from typing import Any


class DeviceError(Exception):
    """A container's devices cannot be had now; the text says why."""


@dataclass(slots=True)
class Access:
    """Variables, mounts, device files, annotations, and devices that the runtime knows by name."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: list[Any] = field(default_factory=list)
    devices: list[Any] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    named: list[Any] = field(default_factory=list)

    def add(self, other: "Access") -> None:
        """What another source of devices gives beside this one."""
        self.environment.update(other.environment)
        self.mounts += other.mounts
        self.devices += other.devices
        self.annotations.update(other.annotations)
        self.named += other.named
