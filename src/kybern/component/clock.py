"""Time, randomness and identity, injected.

Every component takes a :class:`Clock` and asks it for the date, random numbers and UIDs; waiting is
plain asyncio, because a virtual clock comes with an event loop whose timers are virtual
(``kybern.testing``). With a seed, a run on virtual time replays exactly. Nothing else in the house
may call ``time.time()``, ``datetime.now()``, ``random`` or ``uuid``.
"""

import random
import time
import uuid
from datetime import UTC, datetime


class Clock:
    """The real clock; ``seed`` makes its random numbers and UIDs repeatable."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back; for durations only."""
        return time.monotonic()

    def now(self) -> datetime:
        """The date in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def timestamp(self) -> str:
        """``metav1.Time``: RFC 3339 in whole seconds."""
        return rfc3339(self.time())

    def micro_timestamp(self) -> str:
        """``metav1.MicroTime``: RFC 3339 with six decimals."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def uid(self) -> str:
        """A version 4 UUID."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as ``2006-01-02T15:04:05Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def parse_rfc3339(text: str) -> float:
    """A ``Time`` or ``MicroTime`` as seconds since the epoch; raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
