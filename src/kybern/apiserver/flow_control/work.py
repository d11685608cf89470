"""How many seats a request takes, and for how long: estimated before it is carried out.

Most requests take one seat. A list (and a watch that begins with one) takes a seat per 100 kB that
it brings together, up to ten. A write wakes the watchers of its object after it is answered; from
ten watchers on, it keeps seats for that: one for 5 ms per ten watchers, reshaped to be no wider
than the level allows. The watchers counted are those that the cache would look at for any object
of that name or namespace; watches of one node's pods are not, because a write reaches one of them.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from kybern.apiserver.request_info import RequestInfo

# What upstream takes a request to last before it has ended.
ESTIMATED_SECONDS = 0.003
BYTES_PER_SEAT = 100_000
MOST_LISTED_BYTES = 1_000_000
MOST_LIST_SEATS = 100
MOST_WRITE_SEATS = 10
WATCHES_PER_SEAT = 10
EVENT_SECONDS = 0.005

_LISTS = frozenset({"list", "watch"})
_WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Work:
    """Seats while the request is carried out, and seats that it keeps for a time afterwards.

    ``seats`` is the greater of the two, which is held throughout; ``total`` is the work expected,
    in seat-seconds.
    """

    initial_seats: int = 1
    final_seats: int = 0
    linger_seconds: float = 0.0
    seats: int = 1
    total: float = ESTIMATED_SECONDS


ONE_SEAT = Work()


class Stored(Protocol):
    """What the estimates are made from."""

    def size(self, info: RequestInfo) -> tuple[int, int]:
        """How many objects the resource has, and the bytes of all of them."""
        ...

    def watchers(self, info: RequestInfo) -> int:
        """How many watches a write of this object concerns."""
        ...


def estimate(info: RequestInfo, max_seats: int, stored: Stored) -> Work:
    """The work of a request. ``max_seats`` is its level's limit for one request, 0 for none."""
    if info.verb in _LISTS:
        return _list(info, max_seats, stored)
    if info.verb in _WRITES:
        return _write(info, max_seats, stored)
    return ONE_SEAT


def work(initial: int, final: int = 0, linger: float = 0.0) -> Work:
    """Work of these measures."""
    total = initial * ESTIMATED_SECONDS + final * linger
    return Work(initial, final, linger, max(initial, final), total)


def _list(info: RequestInfo, max_seats: int, stored: Stored) -> Work:
    if info.name or (info.verb == "watch" and not _begins_with_a_list(info)):
        return ONE_SEAT
    objects, bytes_of_all = stored.size(info)
    if not objects:
        return ONE_SEAT
    shown, limit = objects, info.param("limit")
    if limit.isdigit() and int(limit):
        shown = min(shown, int(limit))
    size = min(shown * bytes_of_all / objects, MOST_LISTED_BYTES)
    seats = min(math.ceil(size / BYTES_PER_SEAT), _most(max_seats, MOST_LIST_SEATS))
    return work(seats) if seats > 1 else ONE_SEAT


def _begins_with_a_list(info: RequestInfo) -> bool:
    if "sendInitialEvents" in info.params and info.flag("sendInitialEvents"):
        return True
    return info.param("resourceVersion") in ("", "0")


def _write(info: RequestInfo, max_seats: int, stored: Stored) -> Work:
    if info.subresource == "token":
        return ONE_SEAT
    watchers = stored.watchers(info)
    if watchers < WATCHES_PER_SEAT:
        return ONE_SEAT
    wanted = math.ceil(watchers / WATCHES_PER_SEAT)
    seats = min(wanted, _most(max_seats, MOST_WRITE_SEATS))
    return work(1, seats, wanted * EVENT_SECONDS / seats)


def _most(max_seats: int, limit: int) -> int:
    return min(max_seats, limit) if max_seats else limit
