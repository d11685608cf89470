"""Explanations: what was found for each pod, bounded."""

import json
from typing import Any

from test_decision import Core, node, pod

from kybern.component.clock import Clock
from kybern.scheduler.decision import Placement
from kybern.scheduler.queued_pod import QueuedPod
from kybern.scheduler.verdicts import Verdicts

Obj = dict[str, Any]


def attempt(core: Core, verdicts: Verdicts, one: Obj) -> Obj:
    queued = QueuedPod(one, 0.0, 1)
    outcome = core.decider.decide(one)
    if isinstance(outcome, Placement):
        verdicts.placed(queued, outcome)
    else:
        verdicts.failed(queued, outcome, core.cluster.nodes)
    found = verdicts.get(queued.uid)
    assert found is not None
    return found.document()


def test_a_pod_without_a_node_is_told_which_plugin_said_no_and_what_came_closest() -> None:
    core = Core(node("a", unschedulable=True), node("b"), node("c", cpu="1"))
    core.cluster.place(pod("there", cpu="3"), "b")
    found = attempt(core, Verdicts(Clock()), pod("p", cpu="2"))
    assert found["node"] == ""
    assert found["message"].startswith("0/3 nodes are available")
    assert found["plugins"] == [
        {
            "name": "NodeUnschedulable",
            "nodes": 1,
            "reasons": [{"reason": "node(s) were unschedulable", "nodes": 1}],
        },
        {
            "name": "NodeResourcesFit",
            "nodes": 2,
            "reasons": [{"reason": "Insufficient cpu", "nodes": 2}],
        },
    ]
    closest = found["closestNodes"]
    assert [(one["node"], one["plugin"]) for one in closest] == [("b", "NodeResourcesFit")]
    assert closest[0]["preemptionMayHelp"]
    json.dumps(found)


def test_a_rejection_before_any_node_names_its_plugin() -> None:
    core = Core(node("a"))
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    found = attempt(core, Verdicts(Clock()), pod("p", volumes=volumes))
    (plugin,) = found["plugins"]
    assert plugin["name"] == "VolumeRestrictions"
    assert plugin["reasons"] == [{"reason": 'persistentvolumeclaim "data" not found', "nodes": 1}]


def test_the_newest_attempt_of_the_latest_pods_is_kept() -> None:
    core = Core(node("a"))
    verdicts = Verdicts(Clock(), limit=2)
    for name in ("one", "two", "one", "three"):
        attempt(core, verdicts, pod(name))
    assert len(verdicts) == 2
    assert verdicts.get("two") is None
    assert [one.name for one in verdicts.of_namespace("default")] == ["one", "three"]
    assert [one.node for one in verdicts.of_namespace("default")] == ["a", "a"]
