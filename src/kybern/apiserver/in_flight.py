"""How many requests are answered at once: above the limit they are turned away with 429.

The pipeline counts each request in once its user is known and out when it is answered. Reads and
writes have limits of their own, so that a flood of one leaves the other alone. Streams (watches,
logs, exec and the like) do not count, and administrators always get through. The limits are higher
than upstream's, because a request that waits here is a suspended coroutine and not a thread.
"""

from kybern.api.errors import too_many_requests
from kybern.api.user import MASTERS_GROUP, UserInfo
from kybern.apiserver.request_info import RequestInfo

_READS = frozenset({"get", "list"})
_STREAMING_SUBRESOURCES = frozenset({"attach", "exec", "log", "portforward", "proxy"})


class InFlight:
    """Counts requests against ``reads`` and ``writes``, the most of each at once."""

    def __init__(self, reads: int, writes: int) -> None:
        self._limits = {True: reads, False: writes}
        self._counts = {True: 0, False: 0}

    def enter(self, user: UserInfo, info: RequestInfo) -> bool | None:
        """Count a request in; hand what comes back to :meth:`leave`. Raises StatusError 429."""
        if info.verb == "watch" or info.subresource in _STREAMING_SUBRESOURCES:
            return None
        if MASTERS_GROUP in user.groups:
            return None
        reads = info.verb in _READS
        if self._counts[reads] >= self._limits[reads]:
            raise too_many_requests("too many requests, please try again later")
        self._counts[reads] += 1
        return reads

    def leave(self, entered: bool | None) -> None:
        """The request was answered."""
        if entered is not None:
            self._counts[entered] -= 1
