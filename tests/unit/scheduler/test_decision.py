"""Decisions around the columns: messages, confinement, nominations, ties, growth."""

import random
from typing import Any

import numpy as np
import pytest

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ProfileSettings, load
from kybern.scheduler.decision import PROBES, Decider, Placement
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.events import Action, ClusterEvent, EventResource, node_changes
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.preemption_search import Outcome, PreemptionSearch
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]


def node(name: str, cpu: str = "4", **spec: Any) -> Obj:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}},
    }


def pod(name: str, cpu: str = "1", *, labels: Obj | None = None, **spec: Any) -> Obj:
    requests = {"requests": {"cpu": cpu, "memory": "1Gi"}}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels or {}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": requests}], **spec},
    }


class Core:
    """The pure core with nodes of four cpus."""

    def __init__(self, *nodes: Obj, settings: ProfileSettings | None = None) -> None:
        self.cluster = ClusterColumns()
        for one in nodes:
            self.cluster.set_node(one)
        self.profile = Profile(settings or ProfileSettings(), self.cluster)
        self.nominations = Nominations()
        self.decider = Decider(self.cluster, self.profile, self.nominations, random.Random(1))

    def decide(self, one: Obj) -> str:
        """The node, or the message."""
        outcome = self.decider.decide(one)
        return outcome.node if isinstance(outcome, Placement) else outcome.message

    def preempt(self, one: Obj, budgets: tuple[Obj, ...] = ()) -> tuple[FitError, Outcome]:
        error = self.decider.decide(one)
        assert isinstance(error, FitError)
        plugin = self.profile.by_name["DefaultPreemption"]
        assert isinstance(plugin, DefaultPreemption)
        outcome = PreemptionSearch(plugin, self.decider).find(one, error, budgets, False)
        error.post_filter = outcome.message
        return error, outcome


def names(*terms: tuple[str, ...]) -> Obj:
    def field(values: tuple[str, ...]) -> Obj:
        return {"key": "metadata.name", "operator": "In", "values": list(values)}

    selector = {"nodeSelectorTerms": [{"matchFields": [field((n,)) for n in t]} for t in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def test_messages_count_reasons_in_upstreams_order() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    core = Core(node("a", cpu="1"), node("b", cpu="1"), node("c", taints=[taint]))
    expected = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    assert core.decide(pod("p", cpu="2")) == expected


def test_plugins_that_turned_a_pod_down_are_named_in_the_order_in_which_they_judge() -> None:
    core = Core(node("a"), node("b"))
    ports = {"ports": [{"containerPort": 80, "hostPort": 80}]}
    large, holder = pod("p", cpu="9"), pod("h")
    for one in (large, holder):
        one["spec"]["containers"][0] |= ports
    error = core.decider.decide(large)
    assert isinstance(error, FitError)
    assert error.plugins == ("NodeResourcesFit",)
    core.cluster.place(holder, "a")
    error = core.decider.decide(large)
    assert isinstance(error, FitError)
    assert error.plugins == ("NodePorts", "NodeResourcesFit")
    assert [verdict.rows.tolist() for verdict in error.verdicts] == [[0], [1]]


def test_without_nodes_the_message_says_so() -> None:
    assert Core().decide(pod("p")) == "no nodes available to schedule pods"


def test_a_pod_confined_to_a_node_goes_there_or_names_the_plugin() -> None:
    core = Core(node("a"), node("b"), node("c", unschedulable=True))
    assert core.decide(pod("p", affinity=names(("b",)))) == "b"
    assert core.decide(pod("q", affinity=names(("c",)))) == (
        "0/3 nodes are available: 1 node(s) were unschedulable, "
        "2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    conflict = core.decide(pod("r", affinity=names(("a", "b"))))
    assert conflict == "0/3 nodes are available: pod affinity terms conflict."


def test_ties_are_drawn_among_all_the_best_nodes() -> None:
    core = Core(*(node(f"n{i}") for i in range(4)))
    assert {core.decide(pod(f"p{i}")) for i in range(100)} == {"n0", "n1", "n2", "n3"}


def test_a_seed_replays_every_choice() -> None:
    def run() -> list[str]:
        core = Core(*(node(f"n{i}") for i in range(5)))
        chosen = []
        for number in range(12):
            chosen.append(core.decide(pod(f"p{number}")))
            core.cluster.place(pod(f"p{number}"), chosen[-1])
        return chosen

    assert run() == run()


def test_rows_grow_and_are_reused_while_classes_stay_true() -> None:
    core = Core(node("a", cpu="1"))
    core.cluster.place(pod("full"), "a")
    assert core.decide(pod("p")).endswith("1 Insufficient cpu.")
    for number in range(200):
        core.cluster.set_node(node(f"n{number}", cpu="1"))
        core.cluster.place(pod(f"f{number}"), f"n{number}")
    assert core.decide(pod("p")).endswith("201 Insufficient cpu.")
    core.cluster.remove("f77")
    assert core.decide(pod("p")) == "n77"
    core.cluster.remove_node("n77")
    core.cluster.set_node(node("fresh"))
    assert core.cluster.nodes.rows["fresh"] < 202
    assert core.decide(pod("p")) == "fresh"


def test_a_pod_on_a_node_that_is_not_known_yet_counts_once_it_is() -> None:
    core = Core()
    core.cluster.place(pod("early", cpu="4"), "late")
    core.cluster.set_node(node("late"))
    assert core.decide(pod("p")) == "0/1 nodes are available: 1 Insufficient cpu."


def test_room_of_a_nominated_pod_is_kept_from_equal_and_lower_priorities() -> None:
    core = Core(node("a"))
    core.nominations.add(pod("nominated", cpu="4", priority=5), "a")
    message = "0/1 nodes are available: 1 Insufficient cpu."
    assert core.decide(pod("same", priority=5)) == message
    assert core.decide(pod("lower", priority=1)) == message
    assert core.decide(pod("higher", priority=6)) == "a"
    assert core.decide(pod("nominated", cpu="4", priority=5)) == "a"


def test_a_node_that_is_kept_for_nobody_is_found_among_many_that_are() -> None:
    core = Core(*(node(f"n{number}") for number in range(3 * PROBES)))
    core.cluster.place(pod("there"), "n7")
    for number in range(3 * PROBES):
        if number != 7:
            core.nominations.add(pod(f"nominated{number}", cpu="4", priority=5), f"n{number}")
    assert {core.decide(pod(f"p{number}", priority=5)) for number in range(5)} == {"n7"}
    core.nominations.add(pod("another", cpu="3", priority=5), "n7")
    message = f"0/{3 * PROBES} nodes are available: {3 * PROBES} Insufficient cpu."
    assert core.decide(pod("p", priority=5)) == message


@pytest.mark.parametrize("strategy", ["LeastAllocated", "MostAllocated"])
def test_amounts_beyond_what_floats_hold_exactly_are_scored_like_others(strategy: str) -> None:
    args = {"NodeResourcesFit": {"scoringStrategy": {"type": strategy}}}
    small, huge = node("small"), node("huge")
    huge["status"]["allocatable"] |= {"memory": f"{2**60}"}
    core = Core(small, huge, settings=ProfileSettings(args=args))
    memory = {"requests": {"cpu": "1", "memory": f"{2**59 + 1 - 2**30}"}}
    large = pod("large")
    large["spec"]["containers"][0]["resources"] = memory
    core.cluster.place(large, "huge")
    pod_class = core.decider.pod_class(pod("p"))
    for weighted in pod_class.scores:
        # With the pod one byte more than half is in use.
        each = [weighted.score.raw_one(row) for row in (0, 1)]
        assert weighted.score.raw(np.array([0, 1])).tolist() == each


def test_preemption_takes_the_least_important_pods_that_make_room() -> None:
    core = Core(node("a"), node("b"))
    core.cluster.place(pod("a1", cpu="2", priority=1), "a")
    core.cluster.place(pod("a2", cpu="2", priority=3), "a")
    core.cluster.place(pod("b1", cpu="4", priority=2), "b")
    error, outcome = core.preempt(pod("p", cpu="2", priority=10))
    assert outcome.candidate is not None
    assert outcome.candidate.node == "a"
    assert [victim.uid for victim in outcome.candidate.victims] == ["a1"]
    assert error.message == "0/2 nodes are available: 2 Insufficient cpu."
    assert core.decide(pod("q", cpu="2")) == error.message, "the columns are as before"


def test_preemption_prefers_nodes_where_no_budget_breaks() -> None:
    core = Core(node("a"), node("b"))
    core.cluster.place(pod("a1", cpu="4", priority=1, labels={"app": "x"}), "a")
    core.cluster.place(pod("b1", cpu="4", priority=2), "b")
    budget = {
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}},
        "status": {"disruptionsAllowed": 0},
    }
    _, outcome = core.preempt(pod("p", cpu="2", priority=10), (budget,))
    assert outcome.candidate is not None and outcome.candidate.node == "b"


def test_preemption_says_why_it_does_not_help() -> None:
    core = Core(node("a"), node("b", cpu="1"), node("c", unschedulable=True))
    core.cluster.place(pod("a1", cpu="4", priority=10), "a")
    error, outcome = core.preempt(pod("p", cpu="2", priority=10))
    assert outcome.candidate is None
    assert error.message == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling."
    )
    error, _ = core.preempt(pod("q", cpu="2", priority=11, preemptionPolicy="Never"))
    assert error.message.endswith("preemption: not eligible due to preemptionPolicy=Never.")


def test_a_configuration_file_changes_weights_and_strategies() -> None:
    text = b"""
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: packing
  plugins:
    score:
      disabled: [{name: NodeResourcesBalancedAllocation}]
    multiPoint:
      disabled: [{name: NodePorts}]
  pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}
"""
    (settings,) = load(text).profiles
    assert settings.scheduler_name == "packing"
    core = Core(node("a"), node("b"), node("c"), settings=settings)
    assert "NodePorts" not in core.profile.by_name
    core.cluster.place(pod("there"), "b")
    assert [core.decide(pod(f"p{i}")) for i in range(10)] == ["b"] * 10


def test_label_values_of_gone_nodes_do_not_pile_up() -> None:
    core = Core(node("stays"))
    column = core.cluster.nodes.label("kubernetes.io/hostname")
    for number in range(1000):
        core.cluster.set_node(node(f"n{number}"))
        core.cluster.remove_node(f"n{number}")
    assert len(column.values) <= 2 * core.cluster.nodes.capacity + 1
    selected = pod("p", nodeSelector={"kubernetes.io/hostname": "stays"})
    assert core.decide(selected) == "stays"


def test_pods_that_need_a_feature_go_where_it_is_declared() -> None:
    able, unable = node("able"), node("unable", cpu="64")
    able["status"]["declaredFeatures"] = ["RestartAllContainersOnContainerExits"]
    core = Core(able, unable)
    wish = pod("p")
    wish["spec"]["containers"][0]["restartPolicyRules"] = [{"action": "RestartAllContainers"}]
    assert core.decide(pod("plain")) == "unable"
    assert core.decide(wish) == "able"
    core.cluster.set_node({**able, "status": {**able["status"], "declaredFeatures": []}})
    assert core.decide(wish) == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's required features."
    )
    rootless = pod("q", hostNetwork=True, hostUsers=False)
    assert core.decide(rootless).endswith("2 node(s) didn't match Pod's required features.")
    changed = node_changes(able, node("able"))
    assert changed == [ClusterEvent(EventResource.NODE, Action.UPDATE_NODE_DECLARED_FEATURE)]
