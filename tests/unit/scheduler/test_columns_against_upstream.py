"""The columns agree with answers recorded from kube-scheduler 1.36 on random clusters.

Each table in ``recorded/`` is one cluster: objects that were added, pods that left, and pods that
were judged, with the feasible nodes, each plugin's weighted score on them (none where there was
nothing to choose, plugins that gave only zeros left out), the node that was taken, or the message.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]

TABLES = sorted((Path(__file__).parent / "recorded").glob("*.jsonl"))


class Replay:
    """One recorded cluster, brought back line by line."""

    def __init__(self, args: dict[str, Obj]) -> None:
        self.cluster = ClusterColumns()
        profile = Profile(ProfileSettings(args=args), self.cluster)
        self.decider = Decider(self.cluster, profile, Nominations(), random.Random(1))

    def add(self, kind: str, obj: Obj) -> None:
        cluster, storage = self.cluster, self.cluster.storage
        meta = obj["metadata"]
        match kind:
            case "namespace":
                cluster.set_namespace(meta["name"], meta["labels"])
            case "service":
                cluster.workloads.service_changed(None, obj)
            case "owner":
                cluster.workloads.owner_changed(None, obj)
            case "class":
                storage.class_changed(None, obj)
            case "volume":
                storage.volume_changed(None, obj)
            case "claim":
                storage.claim_changed(None, obj)
            case "csi_node":
                storage.csi_node_changed(None, obj)
            case "node":
                cluster.set_node(obj)
            case "pod":
                cluster.place(obj, obj["spec"]["nodeName"])
            case _:
                raise AssertionError(kind)

    def judge(self, case: Obj) -> None:
        pod = case["pod"]
        outcome = self.decider.decide(pod)
        if "message" in case:
            assert not isinstance(outcome, Placement)
            # What preemption adds is not asked here.
            assert case["message"].startswith(outcome.message), (outcome.message, case["message"])
            return
        assert isinstance(outcome, Placement), outcome.message
        pod_class = self.decider.pod_class(pod)
        rows = self.decider.feasible_rows(pod, pod_class)
        names = self.cluster.nodes.names
        assert sorted(names[row] for row in rows) == case["feasible"]
        if "scores" in case:
            self._compare(pod, case)
        self.cluster.place(pod, case["node"])

    def _compare(self, pod: Obj, case: Obj) -> None:
        nodes = case["feasible"]
        rows = np.array([self.cluster.nodes.rows[name] for name in nodes], dtype=np.intp)
        total = np.zeros(len(rows), dtype=np.int64)
        found = {}
        for weighted, _, score in self.decider.pod_class(pod).score_table(rows):
            total += weighted.weight * score
            if score.any():
                found[weighted.plugin] = (weighted.weight * score).tolist()
        assert found == case["scores"]
        best = [name for name, score in zip(nodes, total, strict=True) if score == total.max()]
        assert case["node"] in best


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_decisions_equal_the_recorded_ones(table: Path) -> None:
    first, *lines = map(orjson.loads, table.read_bytes().splitlines())
    replay = Replay(first["args"])
    for line in lines:
        if "add" in line:
            replay.add(line["add"], line["object"])
        elif "remove" in line:
            replay.cluster.remove(line["remove"])
        else:
            replay.judge(line)


def test_there_are_tables() -> None:
    assert len(TABLES) == 24
