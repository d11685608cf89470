"""The best nodes for a pod with the scores that each plugin gave them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Rows, Values
from kybern.scheduler.decision import Decider

Obj = dict[str, Any]

SHOWN = 3


@dataclass(frozen=True, slots=True)
class PluginScore:
    """What one plugin thinks of one node: as computed, from 0 to 100, and its weight."""

    plugin: str
    raw: int
    normalized: int
    weight: int

    @property
    def weighted(self) -> int:
        return self.normalized * self.weight


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that could take the pod."""

    node: str
    scores: tuple[PluginScore, ...]

    @property
    def total(self) -> int:
        return sum(score.weighted for score in self.scores)

    def document(self) -> Obj:
        scores = [
            {
                "plugin": one.plugin,
                "raw": one.raw,
                "normalized": one.normalized,
                "weight": one.weight,
                "weighted": one.weighted,
            }
            for one in self.scores
        ]
        return {"node": self.node, "total": self.total, "scores": scores}


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best ``SHOWN`` candidates, the chosen one first, then by score.

    ``equal`` says how many nodes have the chosen one's score, itself included.
    """

    nodes: int
    feasible: int
    equal: int
    candidates: tuple[Candidate, ...]


def rank(decider: Decider, pod: Obj, chosen: int) -> Ranking:
    """Rank the nodes as the columns are; ``chosen`` is the row of the pod's node."""
    pod_class = decider.pod_class(pod)
    rows = decider.feasible_rows(pod, pod_class)
    feasible = len(rows)
    if chosen not in rows:
        # The node has no room any more, or was nominated and others are kept out.
        rows = np.append(rows, chosen).astype(np.intp)
    table = pod_class.score_table(rows)
    total: Values = np.zeros(len(rows), dtype=np.int64)
    for weighted, _, normalized in table:
        total += weighted.weight * normalized
    position = int(np.flatnonzero(rows == chosen)[0])
    equal = int((total == total[position]).sum())
    shown = [position, *(i for i in _largest(total, SHOWN) if i != position)][:SHOWN]
    names = decider.cluster.nodes.names
    candidates = tuple(
        Candidate(
            names[int(rows[i])],
            tuple(
                PluginScore(weighted.plugin, int(raw[i]), int(normalized[i]), weighted.weight)
                for weighted, raw, normalized in table
            ),
        )
        for i in shown
    )
    return Ranking(decider.cluster.nodes.node_count, feasible, equal, candidates)


def _largest(total: Values, count: int) -> list[int]:
    """The positions of the largest numbers, in order."""
    if len(total) > count:
        found: Rows = np.argpartition(-total, count)[:count]
    else:
        found = np.arange(len(total))
    ordered: list[int] = found[np.argsort(-total[found], kind="stable")].tolist()
    return ordered
