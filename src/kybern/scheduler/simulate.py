"""What would the scheduler do? The real core on a snapshot, without a server.

``simulate`` is called by the cluster's ``whatif``: it takes lists of objects as an API server
returns them, places the given pods one after the other in queue order, and says where each would
go or why it would not. Nothing outside is touched.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import DEFAULT_SCHEDULER, Settings
from kybern.scheduler.decision import Decider, Placement
from kybern.scheduler.nominations import Nominations
from kybern.scheduler.plugins.priority_sort import PrioritySort
from kybern.scheduler.profile import Profile

Obj = dict[str, Any]


@dataclass(slots=True)
class Snapshot:
    """The objects that decisions rest on."""

    nodes: Sequence[Obj]
    pods: Sequence[Obj] = ()
    namespaces: Sequence[Obj] = ()
    services: Sequence[Obj] = ()
    owners: Sequence[Obj] = ()
    claims: Sequence[Obj] = ()
    volumes: Sequence[Obj] = ()
    storage_classes: Sequence[Obj] = ()
    csi_nodes: Sequence[Obj] = ()
    resource_claims: Sequence[Obj] = ()
    resource_slices: Sequence[Obj] = ()
    device_classes: Sequence[Obj] = ()


@dataclass(frozen=True, slots=True)
class Simulated:
    """One pod's fate: a node, or a message."""

    pod: Obj
    node: str = ""
    message: str = field(default="")


def simulate(
    snapshot: Snapshot, pods: Iterable[Obj], settings: Settings | None = None, seed: int = 0
) -> list[Simulated]:
    """Place ``pods`` by priority, then in the order given; each needs a uid of its own."""
    cluster = _load(snapshot)
    nominations = Nominations()
    randomness = random.Random(seed)
    deciders = {
        profile.scheduler_name: Decider(cluster, Profile(profile, cluster), nominations, randomness)
        for profile in (settings or Settings()).profiles
    }
    results: list[Simulated] = []
    for pod in sorted(pods, key=lambda pod: PrioritySort.sort_key(pod, 0.0)):
        name = pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER
        decider = deciders.get(name)
        if decider is None:
            results.append(Simulated(pod, message=f'no profile for scheduler name "{name}"'))
            continue
        gated = decider.profile.gate(pod)
        if gated is not None:
            results.append(Simulated(pod, message=gated[1]))
            continue
        outcome = decider.decide(pod)
        if isinstance(outcome, Placement):
            cluster.place(pod, outcome.node)
            results.append(Simulated(pod, node=outcome.node))
        else:
            results.append(Simulated(pod, message=outcome.message))
    return results


def _load(snapshot: Snapshot) -> ClusterColumns:
    cluster = ClusterColumns()
    for namespace in snapshot.namespaces:
        meta = namespace["metadata"]
        cluster.set_namespace(meta["name"], meta.get("labels") or {})
    for service in snapshot.services:
        cluster.workloads.service_changed(None, service)
    for owner in snapshot.owners:
        cluster.workloads.owner_changed(None, owner)
    storage = cluster.storage
    for objects, note in (
        (snapshot.claims, storage.claim_changed),
        (snapshot.volumes, storage.volume_changed),
        (snapshot.storage_classes, storage.class_changed),
        (snapshot.csi_nodes, storage.csi_node_changed),
        (snapshot.resource_claims, storage.resource_claim_changed),
        (snapshot.resource_slices, storage.resource_slice_changed),
        (snapshot.device_classes, storage.device_class_changed),
    ):
        for one in objects:
            note(None, one)
    for node in snapshot.nodes:
        cluster.set_node(node)
    for pod in snapshot.pods:
        node = pod["spec"].get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            cluster.place(pod, node)
    return cluster
