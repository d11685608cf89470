"""Priority levels, and the division of the server's seats among them.

Each level's nominal seats are its part of all shares. It lends a percentage of them and may borrow
up to a limit; :meth:`PriorityLevels.adjust` sets what it has for now from what all have lately
wanted. A level whose object is gone serves what it still has and then goes, too.
"""

import math
from collections.abc import Collection, Iterator, Mapping

from kybern.api.errors import Obj
from kybern.apiserver.flow_control.bootstrap_objects import MANDATORY_LEVELS
from kybern.apiserver.flow_control.borrowing import Claim, shares
from kybern.apiserver.flow_control.queue_set import QueueSet
from kybern.apiserver.flow_control.retry_after import RetryAfter
from kybern.apiserver.flow_control.shuffle_sharding import deal, flow_hash
from kybern.apiserver.flow_control.statistics import FlowStatistics

# One request may take this part of its level's seats.
_MAX_SEATS_RATIO = 0.15


class PriorityLevel:
    """One level: its object's settings, its seats and its queues."""

    def __init__(self, obj: Obj, now: float) -> None:
        self.name: str = obj["metadata"]["name"]
        self.exempt = obj["spec"]["type"] == "Exempt"
        self.queue_set = QueueSet(now, limited=not self.exempt)
        self.retry_after = RetryAfter()
        self.statistics: dict[str, FlowStatistics] = {}
        self.quiescing = False
        self.nominal = self.lower = self.upper = self.current = 0
        self.max_seats = 0
        self.target = 0.0
        self.configure(obj)

    def configure(self, obj: Obj) -> None:
        """Take over the settings of the stored object."""
        spec = obj["spec"]
        self.uid: str = obj["metadata"].get("uid", "")
        settings = spec.get("exempt" if self.exempt else "limited") or {}
        self.shares: int = settings.get("nominalConcurrencyShares") or 0
        self._lendable: int = settings.get("lendablePercent") or 0
        self._borrowing: int | None = settings.get("borrowingLimitPercent")
        queuing = (settings.get("limitResponse") or {}).get("queuing") or {}
        self._hand_size: int = queuing.get("handSize", 0)
        self.queue_set.configure(queuing.get("queues", 0), queuing.get("queueLengthLimit", 0))
        self.quiescing = False

    def divide(self, seats: int, all_shares: int) -> None:
        """Work out the bounds of this level's part of ``seats``."""
        self.nominal = math.ceil(seats * self.shares / all_shares) if all_shares else 0
        lendable = _rounded(self.nominal * self._lendable / 100)
        borrowed = seats
        if self._borrowing is not None:
            borrowed = _rounded(self.nominal * self._borrowing / 100)
        self.lower, self.upper = self.nominal - lendable, self.nominal + borrowed
        if self._hand_size:
            part = math.ceil(self.nominal * _MAX_SEATS_RATIO)
            self.max_seats = max(1, min(part, self.nominal // self._hand_size))

    @property
    def floor(self) -> int:
        """What the level keeps at least: of its own seats, as many as it lately wanted."""
        wanted = self.queue_set.demand.high_watermark
        return max(self.lower, wanted if self.exempt else min(self.nominal, wanted))

    def claim(self) -> Claim:
        target = max(self.floor, self.queue_set.demand.smoothed)
        return Claim(self.floor, self.upper, target)

    def hand(self, schema: str, distinguisher: str) -> tuple[int, ...]:
        """The queues of a flow; none where this level does not queue."""
        queues = self.queue_set.queues_wanted
        if not queues:
            return ()
        return deal(flow_hash(schema, distinguisher), queues, min(self._hand_size, queues))

    def statistics_of(self, schema: str) -> FlowStatistics:
        found = self.statistics.get(schema)
        if found is None:
            found = self.statistics[schema] = FlowStatistics()
        return found

    def forget_statistics(self, schemas: Collection[str]) -> None:
        """Keep only those of existing FlowSchemas."""
        self.statistics = {
            name: held for name, held in self.statistics.items() if name in schemas or held.in_queue
        }


class PriorityLevels(Mapping[str, PriorityLevel]):
    """All levels by name. ``seats`` are those of the whole server."""

    def __init__(self, seats: int, now: float) -> None:
        self.seats = seats
        self.fair_fraction = 0.0
        self._levels: dict[str, PriorityLevel] = {}
        self.configure((), now)

    def __getitem__(self, name: str) -> PriorityLevel:
        return self._levels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._levels)

    def __len__(self) -> int:
        return len(self._levels)

    def configure(self, objects: Collection[Obj], now: float) -> None:
        """Follow the stored objects; the mandatory levels exist even where their objects do not."""
        wanted = {obj["metadata"]["name"]: obj for obj in (*MANDATORY_LEVELS, *objects)}
        for name, obj in wanted.items():
            level = self._levels.get(name)
            if level is None:
                self._levels[name] = PriorityLevel(obj, now)
            else:
                level.configure(obj)
        for name, level in list(self._levels.items()):
            if name not in wanted:
                level.quiescing = True
                if level.queue_set.idle:
                    del self._levels[name]
        all_shares = sum(level.shares for level in self._levels.values())
        for level in self._levels.values():
            level.divide(self.seats, all_shares)
        self.adjust(now)

    def adjust(self, now: float) -> None:
        """End a period of demand, and move seats to where it was."""
        for level in self._levels.values():
            level.queue_set.settle_demand(now)
        self._share_out()
        for level in self._levels.values():
            level.queue_set.set_limit(level.current, now)

    def _share_out(self) -> None:
        total = sum(level.nominal for level in self._levels.values())
        remaining = total
        limited: list[PriorityLevel] = []
        for level in self._levels.values():
            if level.exempt:
                # It has no limit, so what it uses is not there for others.
                level.current = level.floor
                level.target = float(level.floor)
                remaining -= level.current
            else:
                limited.append(level)
        claims = [level.claim() for level in limited]
        lowest = sum(level.lower for level in limited)
        floors = sum(level.floor for level in limited)
        if remaining > floors:
            parts, self.fair_fraction = shares(total, claims)
        else:
            self.fair_fraction = 0.0
            part = max(0.0, (remaining - lowest) / (floors - lowest)) if floors > lowest else 0.0
            parts = [level.lower + (level.floor - level.lower) * part for level in limited]
        for level, claim, seats in zip(limited, claims, parts, strict=True):
            level.target = claim.target
            level.current = _rounded(seats)


def _rounded(value: float) -> int:
    """To the nearest; halves go up, as upstream's rounding has it."""
    return math.floor(value + 0.5)
