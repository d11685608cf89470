"""``kybern whatif``: where pods would go if manifests were applied, nodes drained or added.

The cluster is read once, changed in memory, and given to the scheduler's own ``simulate``. The
pods that wait in the cluster take part, oldest first; then come those of drained nodes, then those
of the manifests, all by priority as in the real queue.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from kybern.api import objects
from kybern.api.errors import Obj
from kybern.api.resources import NODES, PODS
from kybern.cluster.questions.cluster_snapshot import ClusterObjects
from kybern.cluster.questions.expansion import Expansion, pending_pods
from kybern.cluster.questions.nodes import Drained, add_nodes, drain
from kybern.scheduler.columns.node_table import allocatable_amount
from kybern.scheduler.configuration import Settings
from kybern.scheduler.requests import requests_of
from kybern.scheduler.simulate import Simulated, simulate, unplaced

NEW, DRAINED, PENDING, DAEMON, EVICTED = "new", "drained", "pending", "daemon", "evicted"


@dataclass(frozen=True)
class Changes:
    """What is supposed."""

    manifests: Sequence[Obj] = ()
    namespace: str = "default"
    drained: tuple[str, ...] = ()
    added: int = 0
    like: str = ""
    settings: Settings | None = None


@dataclass(frozen=True)
class Fate:
    """What becomes of one pod. ``origin`` says why it is to be placed; ``explanation`` is that of
    a PodExplanation's status."""

    namespace: str
    name: str
    owner: str
    origin: str
    came_from: str
    node: str
    message: str
    evicted: tuple[str, ...]
    explanation: Obj

    def as_json(self) -> Obj:
        given = asdict(self)
        came_from = given.pop("came_from")
        return {**given, "cameFrom": came_from}


@dataclass(frozen=True)
class Load:
    """A node before and after: what its pods ask for, cpu in milli, memory in bytes."""

    name: str
    is_new: bool
    cpu: tuple[int, int, int]
    memory: tuple[int, int, int]
    pods: tuple[int, int, int]


@dataclass
class Outcome:
    """The answer. ``loads`` give (allocatable, before, after)."""

    placed: list[Fate] = field(default_factory=list)
    pending: list[Fate] = field(default_factory=list)
    drained: Drained = field(default_factory=Drained)
    replaced: list[str] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> Obj:
        drained = self.drained
        return {
            "placed": [one.as_json() for one in self.placed],
            "pending": [one.as_json() for one in self.pending],
            "drain": {
                "moved": [objects.key(pod) for pod in drained.moved],
                "lost": [objects.key(pod) for pod in drained.lost],
                "stays": drained.stays,
                "budgets": [asdict(one) for one in drained.budgets],
            },
            "replaced": self.replaced,
            "nodes": [_load_as_json(one) for one in self.loads],
            "notes": self.notes,
        }


def what_if(cluster: ClusterObjects, changes: Changes) -> Outcome:
    """Change the objects in memory and place pods; raises NoSuchNode, ManifestError."""
    before = _usage(cluster.of(PODS))
    outcome = Outcome(notes=[f"{name} could not be read" for name in cluster.unread])
    origins: dict[str, str] = {}
    wanted = pending_pods(cluster)
    origins.update((objects.uid(pod), PENDING) for pod in wanted)
    if changes.drained:
        outcome.drained = drain(cluster, list(changes.drained))
    moved = [unplaced(pod) for pod in outcome.drained.moved]
    origins.update((objects.uid(pod), DRAINED) for pod in moved)
    came_from = {
        objects.uid(again): pod["spec"]["nodeName"]
        for again, pod in zip(moved, outcome.drained.moved, strict=True)
    }
    expansion = Expansion(cluster, changes.namespace)
    added: list[Obj] = []
    if changes.added:
        added = add_nodes(cluster, changes.added, changes.like)
        expansion.run_daemons_on(added)
        origins.update((objects.uid(pod), DAEMON) for pod in expansion.pods)
    # What a new node starts of itself is there before pods that wait come to it.
    daemons = list(expansion.pods)
    expansion.add(changes.manifests)
    outcome.replaced = [objects.key(pod) for pod in expansion.replaced]
    outcome.notes += expansion.notes
    gone = {objects.uid(pod) for pod in expansion.replaced}
    pods = [*daemons, *wanted, *moved, *expansion.pods[len(daemons) :]]
    pods = [pod for pod in pods if objects.uid(pod) not in gone]
    results = simulate(cluster.snapshot(), pods, changes.settings)
    for one in results:
        uid = objects.uid(one.pod)
        origin = origins.get(uid, EVICTED if uid.endswith("-again") else NEW)
        fate = _fate(one, _workload(cluster, one.pod), origin, came_from.get(uid, ""))
        (outcome.placed if one.node else outcome.pending).append(fate)
    outcome.loads = _loads(cluster, results, before, added)
    return outcome


def _workload(cluster: ClusterObjects, pod: Obj) -> str:
    """``Deployment/web``: what people know the pod's controller by."""
    controller = objects.controller_of(pod)
    if controller is None:
        return ""
    if controller["kind"] == "ReplicaSet":
        namespace = objects.namespace(pod)
        replica_set = cluster.find("ReplicaSet", namespace, controller["name"])
        controller = objects.controller_of(replica_set or pod) or controller
    return f"{controller['kind']}/{controller['name']}"


def _fate(result: Simulated, owner: str, origin: str, came_from: str) -> Fate:
    pod = result.pod
    return Fate(
        objects.namespace(pod),
        objects.name(pod),
        owner,
        origin,
        came_from,
        result.node,
        result.message,
        tuple(objects.key(one) for one in result.evicted),
        result.explanation,
    )


Usage = dict[str, tuple[int, int, int]]


def _usage(pods: Sequence[Obj]) -> Usage:
    """(cpu, memory, pods) that is asked for on each node."""
    found: Usage = {}
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and not objects.is_pod_terminal(pod):
            _count(found, node, pod, 1)
    return found


def _count(usage: Usage, node: str, pod: Obj, sign: int) -> None:
    requests = requests_of(pod)
    cpu, memory, count = usage.get(node, (0, 0, 0))
    usage[node] = (cpu + sign * requests.cpu, memory + sign * requests.memory, count + sign)


def _loads(
    cluster: ClusterObjects, results: Sequence[Simulated], before: Usage, added: Sequence[Obj]
) -> list[Load]:
    new = {objects.name(node) for node in added}
    after = _usage(cluster.of(PODS))
    where = {objects.uid(pod): pod["spec"].get("nodeName", "") for pod in cluster.of(PODS)}
    for result in results:
        for victim in result.evicted:
            _count(after, where[objects.uid(victim)], victim, -1)
        if result.node:
            _count(after, result.node, result.pod, 1)
            where[objects.uid(result.pod)] = result.node
    found: list[Load] = []
    for node in cluster.of(NODES):
        name = objects.name(node)
        was, is_ = before.get(name, (0, 0, 0)), after.get(name, (0, 0, 0))
        cpu, memory, pods = (
            (allocatable_amount(node, resource), was[i], is_[i])
            for i, resource in enumerate(("cpu", "memory", "pods"))
        )
        found.append(Load(name, name in new, cpu, memory, pods))
    return found


def _load_as_json(load: Load) -> Obj:
    names = ("allocatable", "before", "after")
    return {
        "name": load.name,
        "new": load.is_new,
        "cpuMilli": dict(zip(names, load.cpu, strict=True)),
        "memoryBytes": dict(zip(names, load.memory, strict=True)),
        "pods": dict(zip(names, load.pods, strict=True)),
    }
