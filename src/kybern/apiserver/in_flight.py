"""How many requests are answered at once where priority and fairness is switched off.

Reads and writes have limits of their own, so that a flood of one leaves the other alone; above
them, requests are turned away with 429. Streams (watches, logs, exec and the like) do not count,
and administrators always get through.
"""

from collections.abc import Mapping

from kybern.api.user import MASTERS_GROUP, UserInfo
from kybern.apiserver.limiter import STREAMING_SUBRESOURCES, TurnedAway
from kybern.apiserver.request_info import RequestInfo

_READS = frozenset({"get", "list"})
_COME_BACK = {"Retry-After": "1"}


class _Count:
    """The requests of one sort; it is the place of each of them."""

    executing = True
    headers: Mapping[str, str] = {}

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0

    def enter(self) -> "_Count":
        if self._count >= self._limit:
            raise TurnedAway(_COME_BACK)
        self._count += 1
        return self

    async def turn(self) -> None:
        """Nobody waits here."""

    def leave(self) -> None:
        self._count -= 1


class InFlight:
    """Counts requests against ``reads`` and ``writes``, the most of each at once."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = _Count(reads)
        self._writes = _Count(writes)

    def enter(self, user: UserInfo, info: RequestInfo) -> _Count | None:
        """A place, or None for a request that needs none; raises TurnedAway."""
        if info.verb == "watch" or info.subresource in STREAMING_SUBRESOURCES:
            return None
        if MASTERS_GROUP in user.groups:
            return None
        return (self._reads if info.verb in _READS else self._writes).enter()
