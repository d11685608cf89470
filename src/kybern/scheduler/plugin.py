"""What a plugin is: an opinion about nodes for one class of equal pods.

A plugin lives as long as its profile. For each pod class it hands out up to one ``Filter`` (may the
pod run there?) and one ``Score`` (how good is it there?), built once and kept with the class; None
says that the plugin has nothing to say about such pods. Filters and scores read live columns:
``rows`` is an index array or a slice, and scalar forms exist where one row must be cheap.

``Basis`` says what an answer rests on, which is what decides how long it stays true:
NODE facts of that row, USAGE of that row (pods on it), or the CLUSTER (pods anywhere). Answers that
rest on nodes and their usage are computed once for all classes whose filters and scores have equal
``key``; those who have one hold nothing that has to be given back. Answers that rest on the cluster
are asked for at each decision, of a few rows only where ``traits`` say which rows are alike.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask, Rows, Values
from kybern.scheduler.columns.traits import Trait
from kybern.scheduler.events import Registration
from kybern.scheduler.pod_shape import PodShape

Obj = dict[str, Any]
Index = Any

MAX_SCORE = 100


class Basis(Enum):
    """What an answer depends on."""

    NODE = "node"
    USAGE = "usage"
    CLUSTER = "cluster"


class Verdict:
    """Why a plugin turned down ``count`` rows; ``unresolvable`` means no eviction there would help.

    Which rows these are is looked up where somebody asks, if ``rows`` is a function.
    """

    __slots__ = ("_rows", "count", "plugin", "reasons", "unresolvable")

    def __init__(
        self,
        plugin: str,
        reasons: tuple[str, ...],
        unresolvable: bool,
        rows: Rows | Callable[[], Rows],
        count: int | None = None,
    ) -> None:
        self.plugin = plugin
        self.reasons = reasons
        self.unresolvable = unresolvable
        self._rows = rows
        self.count = len(self.rows) if count is None else count

    @property
    def rows(self) -> Rows:
        if callable(self._rows):
            self._rows = self._rows()
        return self._rows


@dataclass(frozen=True, slots=True)
class Confinement:
    """Decided before any node is looked at: only these nodes, or none with a reason."""

    nodes: tuple[str, ...] = ()
    rejection: str = ""


class Filter:
    """May pods of one class run on a row?

    Write ``fits`` for one row, or ``feasible`` for many at once, which is many times faster.
    """

    basis: ClassVar[Basis] = Basis.NODE
    reason: ClassVar[str] = ""
    unresolvable: ClassVar[bool] = True
    key: Hashable | None = None
    # A row costs so much that it is asked last, and of rows about to be chosen where that will do.
    is_costly: bool = False

    def feasible(self, rows: Index) -> Mask:
        """One answer for each row."""
        return np.array([self.fits(row) for row in row_numbers(rows)], dtype=np.bool_)

    def fits(self, row: int) -> bool:
        """The answer for one row."""
        return bool(self.feasible(np.array([row], dtype=np.intp))[0])

    def verdicts(self, plugin: str, rows: Rows) -> list[Verdict]:
        """Reasons for rows that were just found infeasible."""
        return [Verdict(plugin, (self.reason,), self.unresolvable, rows)]

    def traits(self) -> Sequence[Trait] | None:
        """By what rows are told apart, if the basis is the cluster; None: by anything."""
        return None

    def is_idle(self) -> bool:
        """Turns down no row as the cluster is, and none either if pods were taken away."""
        return False

    def close(self) -> None:
        """The class is forgotten: give back shared counters."""


class Score:
    """How good is a row, from 0 to 100 after normalising?

    Write ``raw_one`` for one row, or ``raw`` for many at once, which is many times faster.
    """

    basis: ClassVar[Basis] = Basis.NODE
    normalises: ClassVar[bool] = False
    key: Hashable | None = None

    def raw(self, rows: Index) -> Values:
        """One number for each row, before normalising."""
        return np.array([self.raw_one(row) for row in row_numbers(rows)], dtype=np.int64)

    def raw_one(self, row: int) -> int:
        return int(self.raw(np.array([row], dtype=np.intp))[0])

    def raw_of_kinds(self, rows: Rows, counts: Values) -> Values:
        """As ``raw``, where each row is an example of as many as ``counts`` says."""
        return self.raw(rows)

    def normalised(self, raw: Values, rows: Rows) -> Values:
        """Scale the raw scores of the feasible ``rows``; only if ``normalises``."""
        raise NotImplementedError

    def traits(self) -> Sequence[Trait] | None:
        """By what rows are told apart, if the basis is the cluster; None: by anything."""
        return None

    def close(self) -> None:
        """The class is forgotten: give back shared counters."""


class Plugin:
    """Base of all plugins; ``name`` is upstream's."""

    name: ClassVar[str]

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        self.cluster = cluster
        self.args = args

    def registrations(self) -> Sequence[Registration]:
        """Events that may make a pod fit that this plugin rejected."""
        return ()

    def gate(self, pod: Obj) -> str | None:
        """Why the pod must not enter the queue yet (PreEnqueue)."""
        return None

    def version(self) -> int:
        """Changes when filters and scores handed out earlier are out of date."""
        return 0

    def confine(self, shape: PodShape) -> Confinement | None:
        """A verdict on all nodes at once (PreFilter); None leaves all nodes to ``filter``."""
        return None

    def filter(self, shape: PodShape) -> Filter | None:
        return None

    def score(self, shape: PodShape) -> Score | None:
        return None


def row_numbers(rows: Index) -> list[int]:
    """The row numbers of an index array or of a slice with both ends."""
    if isinstance(rows, slice):
        return list(range(rows.start, rows.stop))
    numbers: list[int] = rows.tolist()
    return numbers


def default_normalise(raw: Values, reverse: bool) -> Values:
    """Scale so that the largest becomes 100; ``reverse`` turns low into good."""
    largest = int(raw.max())
    if largest == 0:
        return np.full_like(raw, MAX_SCORE if reverse else 0)
    scaled = raw * MAX_SCORE // largest
    return MAX_SCORE - scaled if reverse else scaled
