"""Eviction thresholds: how they are written, when they are met, for how long. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kybern.api.quantity import BINARY_SI, DECIMAL_SI, Quantity
from kybern.component.duration import parse_duration

MEMORY = "memory.available"
ALLOCATABLE_MEMORY = "allocatableMemory.available"
NODE_FS = "nodefs.available"
NODE_FS_INODES = "nodefs.inodesFree"
IMAGE_FS = "imagefs.available"
IMAGE_FS_INODES = "imagefs.inodesFree"
PIDS = "pid.available"

# The resource that each signal is about, as messages name it.
RESOURCES = {
    MEMORY: "memory",
    ALLOCATABLE_MEMORY: "memory",
    NODE_FS: "ephemeral-storage",
    NODE_FS_INODES: "inodes",
    IMAGE_FS: "ephemeral-storage",
    IMAGE_FS_INODES: "inodes",
    PIDS: "pids",
}
CONDITIONS = {
    MEMORY: "MemoryPressure",
    ALLOCATABLE_MEMORY: "MemoryPressure",
    NODE_FS: "DiskPressure",
    NODE_FS_INODES: "DiskPressure",
    IMAGE_FS: "DiskPressure",
    IMAGE_FS_INODES: "DiskPressure",
    PIDS: "PIDPressure",
}
_COUNTED = ("inodes", "pids")


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity, or a share of the capacity."""

    quantity: int = 0
    share: float = 0.0

    def of(self, capacity: int) -> int:
        return int(capacity * self.share) if self.share else self.quantity


@dataclass(frozen=True, slots=True)
class Observation:
    """What is left of something, and how much there is."""

    available: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """A signal below ``value`` is a shortage; soft ones have to last for ``grace`` seconds."""

    signal: str
    value: Amount
    grace: float = 0.0
    reclaim: Amount = Amount()

    @property
    def hard(self) -> bool:
        return self.grace == 0.0

    @property
    def resource(self) -> str:
        return RESOURCES[self.signal]

    def met(self, observed: Observation, *, with_reclaim: bool = False) -> bool:
        """Whether it is met; with the reclaim, whether it still is after one that was met."""
        bound = self.value.of(observed.capacity)
        if with_reclaim:
            bound += self.reclaim.of(observed.capacity)
        return bound > observed.available


Observations = Mapping[str, Observation]


def shown(resource: str, amount: int) -> str:
    """An amount of a resource as messages print it."""
    family = DECIMAL_SI if resource in _COUNTED else BINARY_SI
    return str(Quantity(amount * 10**9, family))


def parse_thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str],
    soft_grace: Mapping[str, str],
    reclaim: Mapping[str, str],
    *,
    allocatable: bool = False,
) -> list[Threshold]:
    """All thresholds; raises ValueError with upstream's text for what makes no sense.

    Where the pods are held to what is ``allocatable``, hard ones of memory hold for that, too.
    """
    graces = {_known(signal): _grace(text) for signal, text in soft_grace.items()}
    reclaims = {_known(signal): _reclaim(signal, text) for signal, text in reclaim.items()}
    found = list(_statements(hard))
    for threshold in _statements(soft):
        if threshold.signal not in graces:
            raise ValueError(
                f"grace period must be specified for the soft eviction threshold {threshold.signal}"
            )
        found.append(replace(threshold, grace=graces[threshold.signal]))
    found = [replace(each, reclaim=reclaims.get(each.signal, Amount())) for each in found]
    if allocatable:
        found += [
            replace(each, signal=ALLOCATABLE_MEMORY)
            for each in found
            if each.signal == MEMORY and each.hard
        ]
    return found


def _known(signal: str) -> str:
    if signal not in RESOURCES:
        raise ValueError(f"unsupported eviction signal {signal}")
    return signal


def _statements(statements: Mapping[str, str]) -> Iterable[Threshold]:
    for signal, text in statements.items():
        _known(signal)
        if text in ("0%", "100%"):
            continue
        amount = _amount(text)
        if text.endswith("%") and not 0 <= amount.share <= 1:
            bound = ">= 0%" if amount.share < 0 else "<= 100%"
            raise ValueError(f"eviction percentage threshold {signal} must be {bound}: {text}")
        if not text.endswith("%") and amount.quantity <= 0:
            raise ValueError(f"eviction threshold {signal} must be positive: {text}")
        yield Threshold(signal, amount)


def _amount(text: str) -> Amount:
    if text.endswith("%"):
        return Amount(share=float(text[:-1]) / 100)
    return Amount(quantity=Quantity.parse(text).value())


def _grace(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < 0:
        raise ValueError(
            f"invalid eviction grace period specified: {text}, must be a positive value"
        )
    return seconds


def _reclaim(signal: str, text: str) -> Amount:
    amount = _amount(text)
    if text.endswith("%") and amount.share <= 0:
        raise ValueError(f"eviction percentage minimum reclaim {signal} must be positive: {text}")
    if amount.quantity < 0:
        raise ValueError(f"negative eviction minimum reclaim specified for {signal}")
    return amount


class Watch:
    """Which thresholds are met since when, and which conditions the node therefore has.

    A threshold that was acted on stays met until its minimum reclaim is there too, and a condition
    outlasts its cause by the transition period, so that the node does not waver.
    """

    def __init__(self, thresholds: Sequence[Threshold], transition: float) -> None:
        self.thresholds = tuple(thresholds)
        self._transition = transition
        self._since: dict[Threshold, float] = {}
        self._acted: tuple[Threshold, ...] = ()
        self._observed: dict[str, float] = {}
        self.conditions: tuple[str, ...] = ()

    def look(self, observations: Observations, now: float) -> list[Threshold]:
        """Take new observations in; the thresholds to act on, memory before all others."""
        met = [each for each in self.thresholds if _met(each, observations)]
        met += [
            each
            for each in self._acted
            if each not in met and _met(each, observations, with_reclaim=True)
        ]
        self._since = {each: self._since.get(each, now) for each in met}
        self._observed.update({CONDITIONS[each.signal]: now for each in met})
        self.conditions = tuple(
            kind
            for kind, seen in sorted(self._observed.items())
            if kind in {CONDITIONS[each.signal] for each in met} or now - seen < self._transition
        )
        due = [each for each in met if now - self._since[each] >= each.grace]
        self._acted = tuple(due)
        return sorted(due, key=lambda each: each.resource != "memory")


def _met(threshold: Threshold, observations: Observations, *, with_reclaim: bool = False) -> bool:
    observed = observations.get(threshold.signal)
    return observed is not None and threshold.met(observed, with_reclaim=with_reclaim)


def all_resolved(thresholds: Iterable[Threshold], observations: Observations) -> bool:
    """Whether nothing is short any more, minimum reclaims included."""
    return not any(_met(each, observations, with_reclaim=True) for each in thresholds)
