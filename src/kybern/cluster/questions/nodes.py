"""Nodes that go and nodes that come, in the snapshot only."""

from dataclasses import dataclass, field
from typing import Any

from kybern.api import objects
from kybern.api.resources import CSI_NODES, NODES, POD_DISRUPTION_BUDGETS, PODS
from kybern.api.selectors import LabelSelector
from kybern.cluster.questions.cluster_snapshot import ClusterObjects

Obj = dict[str, Any]

HOSTNAME = "kubernetes.io/hostname"
MIRROR = "kubernetes.io/config.mirror"
# Taints that say how a node is; a new node is well.
CONDITION_TAINTS = "node.kubernetes.io/"


class NoSuchNode(ValueError):
    """A node was named that is not there."""


@dataclass(frozen=True)
class Budget:
    """A disruption budget that a drain has to wait for."""

    namespace: str
    name: str
    allowed: int
    wanted: int


@dataclass
class Drained:
    """Pods of drained nodes: ``moved`` are replaced elsewhere, ``lost`` have no controller that
    would do that, ``stays`` counts daemons and pods that belong to the node."""

    moved: list[Obj] = field(default_factory=list)
    lost: list[Obj] = field(default_factory=list)
    stays: int = 0
    budgets: list[Budget] = field(default_factory=list)


def drain(cluster: ClusterObjects, names: list[str]) -> Drained:
    """Close the nodes and take their pods off; raises NoSuchNode."""
    for name in names:
        node = _node(cluster, name)
        spec = {**(node.get("spec") or {}), "unschedulable": True}
        cluster.put({**node, "kind": NODES.kind, "spec": spec})
    drained, left = Drained(), []
    for pod in cluster.of(PODS):
        if pod["spec"].get("nodeName") not in names or objects.is_pod_terminal(pod):
            left.append(pod)
            continue
        controller = objects.controller_of(pod)
        if MIRROR in objects.annotations(pod) or (controller or {}).get("kind") == "DaemonSet":
            left.append(pod)
            drained.stays += 1
        elif controller is None:
            drained.lost.append(pod)
        else:
            drained.moved.append(pod)
    cluster.by_kind[PODS.kind] = left
    drained.budgets = _waited_for(cluster, [*drained.moved, *drained.lost])
    return drained


def _waited_for(cluster: ClusterObjects, pods: list[Obj]) -> list[Budget]:
    """The budgets that do not allow all evictions at once."""
    found: list[Budget] = []
    for budget in cluster.of(POD_DISRUPTION_BUDGETS):
        meta, spec = budget["metadata"], budget.get("spec") or {}
        selector = LabelSelector.from_object(spec.get("selector"))
        wanted = sum(
            objects.namespace(pod) == meta["namespace"] and selector.matches(objects.labels(pod))
            for pod in pods
        )
        allowed = objects.status(budget).get("disruptionsAllowed", 0)
        if wanted > allowed:
            found.append(Budget(meta["namespace"], meta["name"], allowed, wanted))
    return found


def add_nodes(cluster: ClusterObjects, count: int, like: str) -> list[Obj]:
    """Well, open and empty copies of a node; raises NoSuchNode. Without ``like`` the only node is
    the model."""
    if not like:
        nodes = [objects.name(node) for node in cluster.of(NODES)]
        if len(nodes) != 1:
            raise NoSuchNode("say with --like which node the new ones are to be like")
        like = nodes[0]
    model = _node(cluster, like)
    added = [_like(model, f"{like}-new-{number}") for number in range(1, count + 1)]
    csi_node = cluster.find(CSI_NODES.kind, "", like)
    for node in added:
        cluster.put(node)
        if csi_node is not None:
            meta = {**csi_node["metadata"], "name": objects.name(node), "uid": objects.name(node)}
            cluster.put({**csi_node, "kind": CSI_NODES.kind, "metadata": meta})
    return added


def _like(model: Obj, name: str) -> Obj:
    labels = dict(objects.labels(model))
    if HOSTNAME in labels:
        labels[HOSTNAME] = name
    taints = [
        taint
        for taint in (model.get("spec") or {}).get("taints") or ()
        if not taint["key"].startswith(CONDITION_TAINTS)
    ]
    status = {"allocatable": objects.status(model).get("allocatable") or {}}
    return {
        "apiVersion": "v1",
        "kind": NODES.kind,
        "metadata": {"name": name, "uid": name, "labels": labels},
        "spec": {"taints": taints},
        "status": status,
    }


def _node(cluster: ClusterObjects, name: str) -> Obj:
    node = cluster.find(NODES.kind, "", name)
    if node is None:
        raise NoSuchNode(f'there is no node "{name}"')
    return node
