"""What-if: the core on a snapshot."""

from typing import Any

from test_decision import node, pod

from kybern.scheduler.simulate import Snapshot, simulate

Obj = dict[str, Any]


def test_pods_are_placed_by_priority_and_nothing_outside_changes() -> None:
    there = pod("there", cpu="3", nodeName="a")
    done = {**pod("done", cpu="4", nodeName="b"), "status": {"phase": "Succeeded"}}
    snapshot = Snapshot(nodes=[node("a"), node("b")], pods=[there, done])
    wanted = [
        pod("small"),
        pod("large", cpu="4", priority=10),
        pod("none", cpu="4"),
        pod("gated", schedulingGates=[{"name": "g"}]),
        pod("foreign", schedulerName="other"),
    ]
    fates = {one.pod["metadata"]["name"]: one for one in simulate(snapshot, wanted)}
    assert fates["large"].node == "b"
    assert fates["small"].node == "a"
    assert fates["none"].message == "0/2 nodes are available: 2 Insufficient cpu."
    assert fates["gated"].message == "waiting for scheduling gates: [g]"
    assert fates["foreign"].message == 'no profile for scheduler name "other"'
    assert [one.node for one in simulate(snapshot, wanted)] == [
        one.node for one in simulate(snapshot, wanted)
    ]
