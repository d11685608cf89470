"""What the pipeline asks before it carries a request out: whether there is room for it.

``flow_control`` answers by priority and fairness, ``in_flight.py`` by two plain numbers where that
is switched off. A request has its place from its user being known until it is answered.
"""

from collections.abc import Mapping
from typing import Protocol

from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo

# Subresources whose requests last as long as their clients like.
STREAMING_SUBRESOURCES = frozenset({"attach", "exec", "log", "portforward", "proxy"})


class TurnedAway(Exception):
    """There is no room for the request; ``headers`` go with its 429."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("too many requests")
        self.headers = headers


class Place(Protocol):
    """A request's place. ``headers`` go with its response."""

    @property
    def executing(self) -> bool:
        """Whether it is the request's turn; if not, :meth:`turn` has to be awaited first."""
        ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def turn(self) -> None:
        """Wait for the turn; raises TurnedAway, and then the place is given up."""
        ...

    def leave(self) -> None:
        """The request is answered."""
        ...


class Limiter(Protocol):
    """Gives places to requests."""

    def enter(self, user: UserInfo, info: RequestInfo) -> Place | None:
        """A place, or None for a request that needs none; raises TurnedAway."""
        ...
