"""Explanations from the live columns: scores, what nodes lack, what would help, what is kept."""

import json
from typing import Any

import pytest
from test_decision import Core, names, node, pod

from kybern.component.clock import Clock
from kybern.scheduler.decision import Placement
from kybern.scheduler.explain.amounts import readable
from kybern.scheduler.explain.explainer import Explainer
from kybern.scheduler.explain.verdicts import Allowance, Verdicts
from kybern.scheduler.queue import SchedulingQueue
from kybern.scheduler.queued_pod import QueuedPod

Obj = dict[str, Any]


class Lab(Core):
    """The core with an explainer, and pods that were decided on."""

    def __init__(self, *nodes: Obj, limit: int = 10) -> None:
        super().__init__(*nodes)
        clock = Clock(1)
        self.verdicts = Verdicts(clock, limit)
        deciders = {"default-scheduler": self.decider}
        queue = SchedulingQueue(clock.monotonic, {"default-scheduler": {}}, lambda pod: None)
        self.explainer = Explainer(
            clock, self.cluster, deciders, queue, self.nominations, {}, self.verdicts
        )

    def attempt(self, one: Obj) -> Obj:
        """Decide, place if there is a node, and explain."""
        queued = QueuedPod(one, 0.0, 1)
        outcome = self.decider.decide(one)
        if not isinstance(outcome, Placement):
            self.verdicts.failed(queued, outcome.message)
            return self.explain(one)
        self.verdicts.placed(queued, outcome, self.decider)
        bound = {**one, "spec": {**one["spec"], "nodeName": outcome.node}}
        self.cluster.place(bound, outcome.node)
        return self.explain(bound)

    def explain(self, one: Obj) -> Obj:
        status = self.explainer.explain(one)
        assert status is not None
        json.dumps(status)
        return status


def test_the_closest_node_is_the_one_that_lacks_the_least() -> None:
    lab = Lab(node("a", unschedulable=True), node("b"), node("c"), node("d", cpu="1"))
    lab.cluster.place(pod("one", cpu="3"), "b")
    lab.cluster.place(pod("two", cpu="2200m"), "c")
    status = lab.attempt(pod("p", cpu="2"))
    assert status["state"] == "Unschedulable"
    assert status["summary"] == "no node of 4 fits; c lacks 200m cpu"
    assert status["closest"] == [
        {
            "node": "c",
            "plugin": "NodeResourcesFit",
            "reasons": ["Insufficient cpu"],
            "preemptionMayHelp": True,
            "lacks": [{"resource": "cpu", "requested": "2", "free": "1800m", "lacking": "200m"}],
        },
        {
            "node": "b",
            "plugin": "NodeResourcesFit",
            "reasons": ["Insufficient cpu"],
            "preemptionMayHelp": True,
            "lacks": [{"resource": "cpu", "requested": "2", "free": "1", "lacking": "1"}],
        },
        {
            "node": "d",
            "plugin": "NodeResourcesFit",
            "reasons": ["Insufficient cpu"],
            "preemptionMayHelp": False,
            "lacks": [{"resource": "cpu", "requested": "2", "free": "1", "lacking": "1"}],
        },
    ]
    assert status["rejections"][0] == {
        "plugin": "NodeUnschedulable",
        "nodes": 1,
        "reasons": [{"reason": "node(s) were unschedulable", "nodes": 1, "examples": ["a"]}],
    }


TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "zone",
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {},
}
CLAIM = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]


@pytest.mark.parametrize(
    ("nodes", "wish", "advice"),
    [
        ([], {}, "Add a node: there is none."),
        (
            [node("a")],
            {"cpu": "2", "there": "3"},
            "Let the pod ask for no more than 1 CPU: then a can take it.",
        ),
        (
            [node("a"), node("b", cpu="8")],
            {"cpu": "64"},
            "No node is large enough: the pod asks for 64 CPU and the largest node has 8. "
            "Ask for less or add a larger node.",
        ),
        (
            [node("a", taints=[TAINT])],
            {},
            "Let the pod tolerate the taint dedicated=db:NoSchedule, or take it off: "
            "kubectl taint nodes a dedicated:NoSchedule-",
        ),
        ([node("a", taints=[NOT_READY])], {}, "Bring a back: it is not Ready."),
        (
            [node("a")],
            {"nodeSelector": {"disk": "ssd", "kubernetes.io/hostname": "a"}},
            "Label a node as the pod's nodeSelector asks: kubectl label node a disk=ssd",
        ),
        (
            [node("a")],
            {"topologySpreadConstraints": [SPREAD]},
            "Label the nodes with zone: pods are to be spread over it.",
        ),
        ([node("a")], {"volumes": CLAIM}, "Create the claims that the pod names: data."),
        (
            [node("a")],
            {"schedulingGates": [{"name": "g"}]},
            "Whoever set the gate g has to take it off the pod.",
        ),
    ],
)
def test_advice_says_what_to_do(nodes: list[Obj], wish: Obj, advice: str) -> None:
    lab = Lab(*nodes)
    wish = dict(wish)
    if there := wish.pop("there", ""):
        lab.cluster.place(pod("there", cpu=there), "a")
    assert advice in lab.explain(pod("p", **wish))["advice"]


def test_room_that_is_kept_for_a_nominated_pod_is_said_to_be() -> None:
    lab = Lab(node("a"))
    lab.nominations.add(pod("first", cpu="3", priority=10), "a")
    status = lab.attempt(pod("p", cpu="2"))
    assert status["state"] == "Unschedulable"
    assert status["closest"][0]["lacks"] == []
    assert status["advice"][0].startswith("a has room, but it is kept for pods that were nominated")


def test_a_placed_pod_shows_the_scores_of_its_decision_by_plugin() -> None:
    lab = Lab(node("a"), node("b", cpu="8"), node("c", cpu="2"), node("d", cpu="1"))
    status = lab.attempt(pod("p", cpu="2"))
    lab.cluster.place(pod("later", cpu="6"), "b")
    assert status["node"] == "b"
    assert (status["nodesTotal"], status["nodesFeasible"]) == (4, 3)
    assert [one["node"] for one in status["candidates"]] == ["b", "a", "c"]
    totals = [one["total"] for one in status["candidates"]]
    assert totals == sorted(totals, reverse=True)
    assert status["summary"] == f"b scored {totals[0]}, next came a with {totals[1]}"
    fit = {s["plugin"]: s for s in status["candidates"][0]["scores"]}["NodeResourcesFit"]
    # A quarter of the cpu and an eighth of the memory are taken then.
    assert (fit["raw"], fit["normalized"], fit["weight"]) == (81, 81, 1)


def test_scores_that_were_not_kept_are_computed_without_the_pod_itself() -> None:
    lab = Lab(node("a"), node("b"))
    bound = pod("p", cpu="4", nodeName="a")
    lab.cluster.place(bound, "a")
    usage = lab.cluster.nodes.resource("cpu").requested.values.tolist()
    status = lab.explain(bound)
    assert status["recomputed"]
    assert status["nodesFeasible"] == 2
    assert {one["node"] for one in status["candidates"]} == {"a", "b"}
    assert lab.cluster.nodes.resource("cpu").requested.values.tolist() == usage


def test_the_chosen_node_is_ranked_even_if_it_has_no_room_any_more() -> None:
    lab = Lab(node("a"), node("b"))
    bound = pod("p", cpu="2", nodeName="a")
    lab.cluster.place(bound, "a")
    lab.cluster.place(pod("greedy", cpu="4"), "a")
    status = lab.explain(bound)
    assert [one["node"] for one in status["candidates"]] == ["a", "b"]
    assert status["nodesFeasible"] == 1


def test_confined_pods_are_explained_too() -> None:
    lab = Lab(node("a"), node("b", unschedulable=True))
    assert lab.attempt(pod("p", affinity=names(("a",))))["summary"] == (
        "a was the only node that could take it"
    )
    status = lab.attempt(pod("q", affinity=names(("b",))))
    assert [one["plugin"] for one in status["rejections"]] == ["NodeAffinity", "NodeUnschedulable"]
    assert status["closest"][0]["node"] == "b"


def test_pods_of_other_schedulers_are_left_to_them() -> None:
    assert Lab(node("a")).explainer.explain(pod("p", schedulerName="other")) is None


def test_the_latest_pods_are_remembered() -> None:
    lab = Lab(node("a"), limit=2)
    for name in ("one", "two", "one", "three"):
        lab.attempt(pod(name, cpu="100m"))
    assert len(lab.verdicts) == 2
    assert lab.verdicts.get("two") is None
    assert lab.verdicts.get("one") is not None


def test_an_allowance_is_a_share_of_the_time_that_passes() -> None:
    now = [0.0]
    allowance = Allowance(lambda: now[0], share=0.01, saved=0.1)
    assert allowance.is_left
    now[0] = 0.2
    allowance.spend()
    assert not allowance.is_left
    now[0] = 20.0
    assert allowance.is_left


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [
        ("cpu", 200, "200m"),
        ("cpu", 2000, "2"),
        ("memory", 512 << 20, "512Mi"),
        ("memory", 1 << 30, "1Gi"),
        ("memory", 1_500_000_000, "1.4Gi"),
        ("memory", 100, "100"),
        ("pods", 1, "1"),
        ("example.com/gpu", 3, "3"),
    ],
)
def test_amounts_are_readable(resource: str, amount: int, text: str) -> None:
    assert readable(resource, amount) == text
