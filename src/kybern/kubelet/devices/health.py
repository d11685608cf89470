"""How devices of claims are, as their drivers tell it: shown in container statuses (KEP-4680).

A driver that has the stream tells it for as long as it lives; what it said is good for a time, and
nothing when it is gone. ``claim_drivers.py`` reads the streams, ``claims.py`` asks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kybern.component.clock import Clock

HEALTHY, UNHEALTHY, UNKNOWN = "Healthy", "Unhealthy", "Unknown"
_NAMES = (UNKNOWN, HEALTHY, UNHEALTHY)
DEFAULT_SECONDS = 30
MAX_MESSAGE = 1024
# More devices than any node has; a driver that tells of more is told of no further.
MAX_DEVICES = 16384

# Pool and name.
Device = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Health:
    """What was said of one device, and for how many seconds it holds."""

    health: str
    message: str = ""
    seconds: int = DEFAULT_SECONDS


class DeviceHealth:
    """What drivers have said of their devices."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, dict[Device, tuple[Health, float]]] = {}

    def get(self, driver: str, device: Device) -> Health:
        """How a device is now; unknown if nobody has said so lately."""
        health, since = self._told.get(driver, {}).get(device, (Health(UNKNOWN), 0.0))
        old = self._clock.monotonic() - since > health.seconds
        return Health(UNKNOWN) if old else health

    def tell(self, driver: str, devices: Iterable[Any]) -> set[Device]:
        """A driver's report; the devices of which it says something new."""
        told, now = self._told.setdefault(driver, {}), self._clock.monotonic()
        changed = set()
        for one in devices:
            device = (one.device.pool_name, one.device.device_name)
            health = _health(one)
            if device not in told and len(told) >= MAX_DEVICES:
                continue
            if self.get(driver, device) != health:
                changed.add(device)
            told[device] = (health, now)
        return changed

    def forget(self, driver: str) -> set[Device]:
        """The driver tells nothing any more; the devices of which it did."""
        return set(self._told.pop(driver, {}))


def _health(told: Any) -> Health:
    seconds = told.health_check_timeout_seconds
    message = told.message
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 3] + "..."
    known = _NAMES[told.health] if 0 <= told.health < len(_NAMES) else UNKNOWN
    return Health(known, message, seconds if seconds > 0 else DEFAULT_SECONDS)
