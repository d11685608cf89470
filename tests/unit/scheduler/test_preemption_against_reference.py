"""Victims agree with the plain reference on random full clusters, while these change."""

import random
from typing import Any

import pytest
from preemption_reference import best
from random_world import make_pod, make_world, stored
from reference_world import World
from test_columns_against_reference import load

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugins.default_preemption import DefaultPreemption
from kybern.scheduler.preemption_search import PreemptionSearch
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]

PLAIN = ("affinity", "topologySpreadConstraints")


def make_victim(rng: random.Random, number: int, node: str, is_plain: bool) -> Obj:
    pod = make_sized(rng, number, is_plain)
    pod["spec"]["nodeName"] = node
    pod["spec"]["priority"] = rng.choice([0, 0, 1, 2, 20])
    if rng.random() < 0.8:
        pod["status"] = {"startTime": f"2030-01-01T00:00:{rng.randrange(4):02}Z"}
    return pod


def make_sized(rng: random.Random, number: int, is_plain: bool) -> Obj:
    pod = stored(make_pod(rng, number))
    if is_plain:
        for name in PLAIN:
            pod["spec"].pop(name, None)
        for container in pod["spec"]["containers"]:
            container.pop("ports", None)
    pod["spec"].pop("initContainers", None)
    for container in pod["spec"]["containers"]:
        container["resources"]["requests"]["cpu"] = rng.choice(["500m", "1", "2"])
    return pod


def make_budgets(rng: random.Random) -> list[Obj]:
    return [
        {
            "metadata": {"name": f"b{number}", "namespace": rng.choice(["red", "blue", "green"])},
            "spec": {"selector": {"matchLabels": {"app": rng.choice(["web", "db"])}}},
            "status": {"disruptionsAllowed": rng.randrange(2)},
        }
        for number in range(rng.choice([0, 2, 6]))
    ]


def disturb(
    rng: random.Random, world: World, cluster: ClusterColumns, number: int, is_plain: bool
) -> None:
    """A pod leaves, starts, or another comes."""
    pods = list(world.pods)
    if pods and rng.random() < 0.5:
        gone = pods.pop(rng.randrange(len(pods)))
        world.take(gone)
        cluster.remove(gone["metadata"]["uid"])
    if pods and rng.random() < 0.5:
        pod = {**rng.choice(pods), "status": {"startTime": "2030-01-01T00:00:02Z"}}
        world.put(pod)
        cluster.place(pod, pod["spec"]["nodeName"])
    pod = make_victim(rng, number, rng.choice(list(world.nodes)), is_plain)
    world.put(pod)
    cluster.place(pod, pod["spec"]["nodeName"])


@pytest.mark.parametrize("kind", ["plain", "mixed", "any"])
@pytest.mark.parametrize("seed", range(25))
def test_victims_and_node_equal_the_reference(seed: int, kind: str) -> None:
    """Plain pods lack only resources; mixed are plain pods among some with affinity."""
    is_plain = kind == "plain"
    rng = random.Random(seed)
    world = make_world(rng, rng.choice([3, 6]))
    cluster = load(world)
    wanted, offset = rng.choice([(100, 0), (1, 2), (2, 1)])
    args = {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": wanted}
    profile = Profile(ProfileSettings(args={"DefaultPreemption": args}), cluster)
    nominations = Nominations()
    decider = Decider(cluster, profile, nominations, random.Random(seed))
    decider.draw_offset = lambda count: offset % count  # type: ignore[method-assign]
    plugin = profile.by_name["DefaultPreemption"]
    assert isinstance(plugin, DefaultPreemption)
    search = PreemptionSearch(plugin, decider)
    for number in range(len(world.nodes) * 5):
        pod = make_victim(rng, number, f"n{number % len(world.nodes)}", is_plain)
        world.put(pod)
        cluster.place(pod, pod["spec"]["nodeName"])
    nominated: dict[str, list[Obj]] = {}
    if rng.random() < 0.5:
        rival = make_sized(rng, 5000, kind != "any")
        rival["spec"]["priority"] = 10
        nominations.add(rival, "n1")
        nominated["n1"] = [rival]
    budgets = make_budgets(rng)
    shapes = [make_sized(rng, 1000 + number, kind != "any") for number in range(3)]
    for number in range(12):
        pod = rng.choice(shapes)
        pod["spec"]["priority"] = 10
        error = decider.decide(pod)
        if not isinstance(error, Placement):
            outcome = search.find(pod, error, budgets, is_preempting=False)
            expected = best(world, pod, budgets, nominated, wanted, offset)
            if outcome.candidate is None:
                assert not expected, outcome.message
            else:
                found = outcome.candidate
                victims = [victim.uid for victim in found.victims]
                assert (found.node, sorted(victims), found.broken_budgets) == (
                    expected[0].node,
                    sorted(expected[0].victims),
                    expected[0].broken,
                )
        disturb(rng, world, cluster, 2000 + number, is_plain)
        if rng.random() < 0.2:
            budgets = make_budgets(rng)
