"""The plain reference put together: which nodes a profile finds feasible, why the others are not,
and every score.

``args`` are the plugins' arguments by name, as a profile's configuration gives them.
"""

from dataclasses import dataclass, field
from typing import Any

from reference_neighbours import (
    HardSpread,
    pod_affinity_reason,
    pod_affinity_scores,
    spread_scores,
)
from reference_resources import balanced, fit_score, lacking
from reference_storage import (
    binding_reasons,
    limit_reason,
    rejection,
    restriction_reason,
    zone_reason,
)
from reference_world import (
    MEBI,
    World,
    admitted,
    kept_off,
    node_affinity,
    required_terms,
    scaled,
    term_holds,
    tolerated,
    tolerations_of,
)

Obj = dict[str, Any]
Args = dict[str, Obj]

CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass
class Findings:
    """What the filters say: a reason against all nodes, or reasons by node."""

    rejection: str = ""
    reasons: dict[str, list[str]] = field(default_factory=dict)

    @property
    def feasible(self) -> list[str]:
        return [name for name, why in self.reasons.items() if not why]

    @property
    def message(self) -> str:
        """As the event puts it."""
        if self.rejection:
            lines = [self.rejection]
        else:
            texts = [text for why in self.reasons.values() for text in why]
            lines = sorted(f"{texts.count(text)} {text}" for text in set(texts))
        return f"0/{len(self.reasons)} nodes are available: {', '.join(lines)}."


def find(world: World, pod: Obj, args: Args) -> Findings:
    """Judge every node."""
    names = named_nodes(pod)
    if names == set():
        return Findings("pod affinity terms conflict", {name: ["no"] for name in world.nodes})
    if why := rejection(world, pod):
        return Findings(why, {name: ["no"] for name in world.nodes})
    elsewhere = ["node(s) didn't satisfy plugin(s) [NodeAffinity]"]
    judge = NodeJudge(world, pod, args)
    return Findings(
        reasons={
            name: elsewhere if names is not None and name not in names else judge.reasons(name)
            for name in world.nodes
        }
    )


def named_nodes(pod: Obj) -> set[str] | None:
    """The only nodes that required terms name; None if they leave any open."""
    result: set[str] = set()
    for term in required_terms(node_affinity(pod)) or [{}]:
        named = [set(f["values"]) for f in term.get("matchFields") or [] if f["operator"] == "In"]
        if not named:
            return None
        result |= set.intersection(*named)
    return result


class NodeJudge:
    """The filters for one pod, in upstream's order; the first that objects is heard."""

    def __init__(self, world: World, pod: Obj, args: Args) -> None:
        self.world = world
        self.pod = pod
        self.args = args
        self.spread = HardSpread(world, pod, args.get("PodTopologySpread", {}))

    def reasons(self, name: str) -> list[str]:
        world, pod, node = self.world, self.pod, self.world.nodes[name]
        if why := self._own_reason(node):
            return [why]
        if self._ports_clash(name):
            return ["node(s) didn't have free ports for the requested pod ports"]
        if lacks := lacking(world, pod, name, self.args.get("NodeResourcesFit", {})):
            return lacks
        if pod["spec"].get("volumes"):
            for why in (restriction_reason(world, pod, name), limit_reason(world, pod, name)):
                if why is not None:
                    return [why]
            if unbindable := binding_reasons(world, pod, node):
                return unbindable
            if (why := zone_reason(world, pod, node)) is not None:
                return [why]
        for why in (self.spread.reason(node), pod_affinity_reason(world, pod, node)):
            if why is not None:
                return [why]
        return []

    def _own_reason(self, node: Obj) -> str | None:
        """What the node object alone says."""
        pod, tolerations = self.pod, tolerations_of(self.pod)
        if node["spec"].get("unschedulable") and not tolerated(CORDON, tolerations):
            return "node(s) were unschedulable"
        if pod["spec"].get("nodeName", node["metadata"]["name"]) != node["metadata"]["name"]:
            return "node(s) didn't match the requested node name"
        if kept_off(node, tolerations):
            return "node(s) had untolerated taint(s)"
        added = self.args.get("NodeAffinity", {}).get("addedAffinity") or {}
        enforced = required_terms(added)
        if enforced is not None and not any(term_holds(t, node) for t in enforced):
            return "node(s) didn't match scheduler-enforced node affinity"
        if not admitted(pod, node):
            return "node(s) didn't match Pod's node affinity/selector"
        return None

    def _ports_clash(self, name: str) -> bool:
        taken = [port for other in self.world.on(name) for port in host_ports(other)]
        return any(
            (port, protocol) == other[1:]
            and (address == other[0] or "0.0.0.0" in (address, other[0]))
            for address, port, protocol in host_ports(self.pod)
            for other in taken
        )


def host_ports(pod: Obj) -> list[tuple[str, int, str]]:
    inits = pod["spec"].get("initContainers") or []
    sidecars = [c for c in inits if c.get("restartPolicy") == "Always"]
    return [
        (port.get("hostIP") or "0.0.0.0", port["hostPort"], port.get("protocol", "TCP"))
        for container in pod["spec"]["containers"] + sidecars
        for port in container.get("ports") or []
    ]


def taint_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    soft = [t for t in tolerations_of(pod) if t.get("effect") in (None, "", "PreferNoSchedule")]
    raw = {
        name: sum(
            t["effect"] == "PreferNoSchedule" and not tolerated(t, soft)
            for t in world.nodes[name]["spec"].get("taints") or []
        )
        for name in feasible
    }
    return scaled(raw, reverse=True)


def affinity_scores(world: World, terms: list[Obj], feasible: list[str]) -> dict[str, int]:
    raw = {
        name: sum(t["weight"] for t in terms if term_holds(t["preference"], world.nodes[name]))
        for name in feasible
    }
    return scaled(raw, reverse=False)


def image_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    def images(node: Obj) -> dict[str, int]:
        return {
            name: image["sizeBytes"]
            for image in node["status"].get("images") or []
            for name in image["names"]
        }

    containers = pod["spec"]["containers"] + (pod["spec"].get("initContainers") or [])
    result = {}
    for name in feasible:
        total = 0
        for container in containers:
            image = container["image"]
            if ":" not in image.rpartition("/")[2]:
                image += ":latest"
            if image in images(world.nodes[name]):
                having = sum(image in images(node) for node in world.nodes.values())
                total += int(images(world.nodes[name])[image] * (having / len(world.nodes)))
        most = 1000 * MEBI * len(containers)
        clipped = min(max(total, 23 * MEBI), most)
        result[name] = 100 * (clipped - 23 * MEBI) // (most - 23 * MEBI)
    return result


def scores(world: World, pod: Obj, feasible: list[str], args: Args) -> dict[str, dict[str, int]]:
    """Every plugin's normalised score for feasible nodes; plugins that have no say are absent."""
    fit_args = args.get("NodeResourcesFit", {})
    balance_args = args.get("NodeResourcesBalancedAllocation", {})
    table = {
        "TaintToleration": taint_scores(world, pod, feasible),
        "NodeResourcesFit": {n: fit_score(world, pod, n, fit_args) for n in feasible},
        "ImageLocality": image_scores(world, pod, feasible),
        "InterPodAffinity": pod_affinity_scores(
            world, pod, feasible, args.get("InterPodAffinity", {})
        ),
    }
    added = args.get("NodeAffinity", {}).get("addedAffinity") or {}
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    if terms := [*added.get(preferred, ()), *node_affinity(pod).get(preferred, ())]:
        table["NodeAffinity"] = affinity_scores(world, terms, feasible)
    spread = spread_scores(world, pod, feasible, args.get("PodTopologySpread", {}))
    if spread is not None:
        table["PodTopologySpread"] = spread
    even = {n: balanced(world, pod, n, balance_args) for n in feasible}
    if None not in even.values():
        table["NodeResourcesBalancedAllocation"] = {n: v for n, v in even.items() if v is not None}
    return table
