"""Preemption agrees with what kube-scheduler 1.36 did on random clusters.

Each table in ``recorded_preemption/`` is one cluster: nodes, budgets, pods that run or are ending,
pods that left, and pods that came: those that were bound, and those that were not, with the node
that was nominated and whom the scheduler evicted there, or with the message. Among nodes that are
equally good upstream takes any.
"""

from pathlib import Path
from typing import Any

import orjson
import pytest
from test_columns_against_upstream import Replay

from kybern.scheduler.decision import Placement
from kybern.scheduler.eviction_columns import Eviction
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.preemption_search import Candidate, PreemptionSearch

Obj = dict[str, Any]

TABLES = sorted((Path(__file__).parent / "recorded_preemption").glob("*.jsonl"))


class PreemptionReplay(Replay):
    """A recorded cluster in which pods push others out."""

    def __init__(self) -> None:
        super().__init__({})
        plugin = self.decider.profile.by_name["DefaultPreemption"]
        assert isinstance(plugin, DefaultPreemption)
        self.search = PreemptionSearch(plugin, self.decider)
        self.budgets: dict[str, Obj] = {}

    def add(self, kind: str, obj: Obj) -> None:
        if kind == "budget":
            self.budgets[obj["metadata"]["name"]] = obj
        else:
            super().add(kind, obj)

    def binds(self, pod: Obj, node: str) -> None:
        """The pod needs no room that others have; where it goes is judged elsewhere."""
        assert isinstance(self.decider.decide(pod), Placement)
        self.cluster.place(pod, node)

    def preempts(self, pod: Obj, case: Obj) -> None:
        error = self.decider.decide(pod)
        assert not isinstance(error, Placement)
        budgets = list(self.budgets.values())
        outcome = self.search.find(pod, error, budgets, False)
        if "message" in case:
            assert outcome.candidate is None
            error.post_filter = f"no new claims to deallocate, {outcome.message}"
            assert error.message == case["message"]
            return
        assert outcome.candidate is not None, error.message
        candidates, _ = self.search.find_all(pod, error, budgets, False)
        by_node = {candidate.node: candidate for candidate in candidates}
        recorded = by_node[case["node"]]
        assert evicted(recorded) == case["victims"]
        assert rank(recorded) == rank(outcome.candidate)


def evicted(candidate: Candidate) -> list[str]:
    """Who is deleted; those that are ending anyway are not deleted once more."""
    return sorted(
        victim.uid
        for victim in candidate.victims
        if "deletionTimestamp" not in victim.obj["metadata"]
    )


def rank(candidate: Candidate) -> tuple[Any, ...]:
    eviction = Eviction(candidate.victims, candidate.broken_budgets)
    return (*eviction.rank, eviction.earliest_start)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_victims_and_nodes_equal_the_recorded_ones(table: Path) -> None:
    replay = PreemptionReplay()
    for line in map(orjson.loads, table.read_bytes().splitlines()):
        if "add" in line:
            replay.add(line["add"], line["object"])
        elif "remove" in line:
            replay.cluster.remove(line["remove"])
        elif "bound" in line:
            replay.binds(line["bound"], line["node"])
        else:
            replay.preempts(line["preempts"], line)


def test_there_are_tables() -> None:
    assert len(TABLES) == 8
