"""The columns agree with the plain reference on random clusters, while these change."""

import random
from typing import Any

import numpy as np
import pytest
from random_world import make_node, make_pod, make_world
from reference import World, reasons, scores

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import DEFAULT_PLUGINS, ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.pod_class import INFEASIBLE
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]


def load(world: World) -> ClusterColumns:
    cluster = ClusterColumns()
    for name, labels in world.namespaces.items():
        cluster.set_namespace(name, labels)
    for node in world.nodes.values():
        cluster.set_node(node)
    return cluster


def check_one(world: World, cluster: ClusterColumns, decider: Decider, pod: Obj) -> str | None:
    """Compare reasons, every score and the choice; returns the node that was chosen."""
    why = {name: reasons(world, pod, name) for name in world.nodes}
    feasible = [name for name in world.nodes if not why[name]]
    outcome = decider.decide(pod)
    if not feasible:
        assert not isinstance(outcome, Placement)
        counts: dict[str, int] = {}
        for texts in why.values():
            for text in texts:
                counts[text] = counts.get(text, 0) + 1
        lines = sorted(f"{count} {text}" for text, count in counts.items())
        expected = f"0/{len(world.nodes)} nodes are available: {', '.join(lines)}."
        assert outcome.message == expected
        return None
    assert isinstance(outcome, Placement), outcome.message
    pod_class = decider.pod_class(pod)
    rows = np.array([cluster.nodes.rows[name] for name in feasible], dtype=np.intp)
    columns = {one.plugin: final for one, _, final in pod_class.score_table(rows)}
    expected_scores = scores(world, pod, feasible)
    totals = dict.fromkeys(feasible, 0)
    for plugin, by_node in expected_scores.items():
        if plugin in columns:
            assert columns[plugin].tolist() == [by_node[n] for n in feasible], plugin
        else:
            assert len(set(by_node.values())) == 1, plugin
        for name in feasible:
            totals[name] += DEFAULT_PLUGINS[plugin] * by_node[name]
    best = [name for name in feasible if totals[name] == max(totals.values())]
    assert outcome.node in best
    live = [row for row in cluster.nodes.rows.values() if cluster.nodes.alive.cells[row]]
    for row in live:
        assert pod_class.fits(row) == (not why[cluster.nodes.names[row]])
        if not why[cluster.nodes.names[row]]:
            assert pod_class.base[row] > INFEASIBLE
    return outcome.node


def disturb(rng: random.Random, world: World, cluster: ClusterColumns) -> None:
    """Something else happens in the cluster between two decisions."""
    what = rng.random()
    if what < 0.25 and world.pods:
        gone = world.pods.pop(rng.randrange(len(world.pods)))
        cluster.remove(gone["metadata"]["uid"])
    elif what < 0.35 and world.pods:
        index = rng.randrange(len(world.pods))
        pod = world.pods[index]
        meta = {**pod["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
        world.pods[index] = {**pod, "metadata": meta}
        cluster.place(world.pods[index], pod["spec"]["nodeName"])
    elif what < 0.5:
        name = rng.choice(list(world.nodes))
        world.nodes[name] = make_node(rng, name)
        cluster.set_node(world.nodes[name])
    elif what < 0.55:
        name = rng.choice(list(world.namespaces))
        world.namespaces[name] = {"team": rng.choice("ab")}
        cluster.set_namespace(name, world.namespaces[name])


@pytest.mark.parametrize("seed", range(60))
def test_feasible_nodes_scores_and_choice_equal_the_reference(seed: int) -> None:
    rng = random.Random(seed)
    world = make_world(rng, rng.choice([3, 6, 10]))
    cluster = load(world)
    profile = Profile(ProfileSettings(), cluster)
    decider = Decider(cluster, profile, Nominations(), random.Random(seed))
    shapes = [make_pod(rng, 1000 + number) for number in range(8)]
    for number in range(40):
        pod = make_pod(rng, number)
        if rng.random() < 0.6:
            # Pods of a few shapes come again and again, so that classes are brought up to date.
            template = rng.choice(shapes)
            meta = {**template["metadata"], "name": f"p{number}", "uid": f"u{number}"}
            pod = {"metadata": meta, "spec": template["spec"]}
        node = check_one(world, cluster, decider, pod)
        if node is not None:
            placed = {**pod, "spec": {**pod["spec"], "nodeName": node}}
            world.pods.append(placed)
            cluster.place(pod, node)
        disturb(rng, world, cluster)
