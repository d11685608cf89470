"""The columns agree with the plain reference on random clusters, while these change."""

import random
from typing import Any

import numpy as np
import pytest
from random_storage import make_claim, make_volume
from random_world import make_args, make_node, make_pod, make_world, resized, stored
from reference import find, scores
from reference_world import World

from kybern.scheduler import lookalikes
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import DEFAULT_PLUGINS, ProfileSettings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.profile import Profile
from kybern.scheduler.row_totals import INFEASIBLE

Obj = dict[str, Any]

# Each seed is one cluster and this many decisions.
SEEDS = 250
DECISIONS = 80


def load(world: World) -> ClusterColumns:
    cluster = ClusterColumns()
    for name, labels in world.namespaces.items():
        cluster.set_namespace(name, labels)
    for service in world.services:
        cluster.workloads.service_changed(None, service)
    for owner in world.owners.values():
        cluster.workloads.owner_changed(None, owner)
    storage = cluster.storage
    for objects, note in (
        (world.classes, storage.class_changed),
        (world.volumes, storage.volume_changed),
        (world.claims, storage.claim_changed),
        (world.csi_nodes, storage.csi_node_changed),
    ):
        for obj in objects.values():
            note(None, obj)
    for node in world.nodes.values():
        cluster.set_node(node)
    return cluster


def check_one(
    world: World, cluster: ClusterColumns, decider: Decider, pod: Obj, args: dict[str, Obj]
) -> str | None:
    """Compare reasons, every score and the choice; returns the node that was chosen."""
    findings = find(world, pod, args)
    feasible = findings.feasible
    seen = stored(pod)
    outcome = decider.decide(seen)
    if not feasible:
        assert not isinstance(outcome, Placement)
        assert outcome.message == findings.message
        return None
    assert isinstance(outcome, Placement), outcome.message
    pod_class = decider.pod_class(seen)
    pod_class.refresh()
    rows = np.array([cluster.nodes.rows[name] for name in feasible], dtype=np.intp)
    columns = {one.plugin: final for one, _, final in pod_class.score_table(rows)}
    totals = dict.fromkeys(feasible, 0)
    for plugin, by_node in scores(world, pod, feasible, args).items():
        if plugin in columns:
            assert columns[plugin].tolist() == [by_node[n] for n in feasible], plugin
        else:
            assert len(set(by_node.values())) == 1, plugin
        for name in feasible:
            totals[name] += DEFAULT_PLUGINS[plugin] * by_node[name]
    best = [name for name in feasible if totals[name] == max(totals.values())]
    assert outcome.node in best
    if not pod_class.confinements:
        for name, row in cluster.nodes.rows.items():
            assert pod_class.fits(row) == (name in feasible)
            if name in feasible:
                assert pod_class.base[row] > INFEASIBLE
    return outcome.node


def disturb(rng: random.Random, world: World, cluster: ClusterColumns) -> None:
    """Something else happens in the cluster between two decisions."""
    what = rng.random()
    pods = list(world.pods)
    if what < 0.25 and pods:
        gone = rng.choice(pods)
        world.take(gone)
        cluster.remove(gone["metadata"]["uid"])
    elif what < 0.4 and pods:
        pod = rng.choice(pods)
        if what < 0.33:
            meta = {**pod["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
            pod = {**pod, "metadata": meta}
        else:
            pod = resized(rng, pod)
        world.put(pod)
        cluster.place({**stored(pod)}, pod["spec"]["nodeName"])
    elif what < 0.5:
        name = rng.choice(list(world.nodes))
        world.nodes[name] = make_node(rng, name)
        cluster.set_node(world.nodes[name])
    elif what < 0.55:
        name = rng.choice(list(world.namespaces))
        world.namespaces[name] = {"team": rng.choice("ab")}
        cluster.set_namespace(name, world.namespaces[name])
    elif what < 0.65:
        disturb_storage(rng, world, cluster)


def disturb_storage(rng: random.Random, world: World, cluster: ClusterColumns) -> None:
    if rng.random() < 0.5:
        name = rng.choice(list(world.volumes))
        fresh = make_volume(rng, name)
        cluster.storage.volume_changed(world.volumes[name], fresh)
        world.volumes[name] = fresh
    else:
        key = rng.choice(list(world.claims))
        space, _, name = key.partition("/")
        fresh = make_claim(rng, space, name)
        cluster.storage.claim_changed(world.claims[key], fresh)
        world.claims[key] = fresh


@pytest.mark.parametrize("seed", range(SEEDS))
def test_feasible_nodes_scores_and_choice_equal_the_reference(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the clusters are asked about by kinds of rows, as large ones are."""
    monkeypatch.setattr(lookalikes, "FEW_ROWS", seed % 2 * 1000)
    rng = random.Random(seed)
    world = make_world(rng, rng.choice([3, 4, 6]))
    cluster = load(world)
    args = make_args(rng)
    profile = Profile(ProfileSettings(args=args), cluster)
    decider = Decider(cluster, profile, Nominations(), random.Random(seed))
    shapes = [make_pod(rng, 1000 + number) for number in range(8)]
    for number in range(DECISIONS):
        pod = make_pod(rng, number)
        if rng.random() < 0.8:
            # Pods of a few shapes come again and again, so that classes are brought up to date.
            template = rng.choice(shapes)
            meta = {**template["metadata"], "name": f"p{number}", "uid": f"u{number}"}
            pod = {"metadata": meta, "spec": template["spec"]}
        node = check_one(world, cluster, decider, pod, args)
        if node is not None:
            placed = {**pod, "spec": {**pod["spec"], "nodeName": node}}
            world.put(placed)
            cluster.place(stored(placed), node)
        disturb(rng, world, cluster)
