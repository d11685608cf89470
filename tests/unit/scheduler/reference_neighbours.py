"""The plain reference: rules about other pods, inter-pod affinity and topology spread."""

import math
from typing import Any

from reference_world import (
    HOST,
    ZONE,
    World,
    admitted,
    kept_off,
    labels,
    namespace,
    selects,
    tolerations_of,
)

Obj = dict[str, Any]

SIDES = {"podAffinity": 1, "podAntiAffinity": -1}
SYSTEM_DEFAULTS = [
    {"topologyKey": HOST, "maxSkew": 3, "whenUnsatisfiable": "ScheduleAnyway"},
    {"topologyKey": ZONE, "maxSkew": 5, "whenUnsatisfiable": "ScheduleAnyway"},
]


def pod_terms(pod: Obj, side: str, kind: str) -> list[Obj]:
    terms = (pod["spec"].get("affinity") or {}).get(side) or {}
    return terms.get(f"{kind}DuringSchedulingIgnoredDuringExecution") or []


def speaks_of(world: World, term: Obj, owner: Obj, pod: Obj) -> bool:
    """Whether ``owner``'s term is about ``pod``."""
    there = namespace(pod)
    namespaces = term.get("namespaces") or []
    selector = term.get("namespaceSelector")
    if not namespaces and selector is None:
        namespaces = [namespace(owner)]
    if there not in namespaces:
        if selector is None:
            return False
        if not selects(selector, world.namespaces.get(there, {})):
            return False
    mine, its = labels(owner), labels(pod)
    shared = [key for key in term.get("matchLabelKeys") or [] if key in mine]
    differing = [key for key in term.get("mismatchLabelKeys") or [] if key in mine]
    return (
        selects(term.get("labelSelector"), its)
        and all(its.get(key) == mine[key] for key in shared)
        and all(its.get(key) != mine[key] for key in differing)
    )


def neighbours(world: World, key: str, node: Obj) -> list[Obj]:
    """The pods in the node's domain of a topology key."""
    if key not in labels(node):
        return []
    return [
        pod
        for name, other in world.nodes.items()
        if labels(other).get(key) == labels(node)[key]
        for pod in world.on(name)
    ]


def pod_affinity_reason(world: World, pod: Obj, node: Obj) -> str | None:
    required = pod_terms(pod, "podAffinity", "required")
    if any(t["topologyKey"] not in labels(node) for t in required):
        return "node(s) didn't match pod affinity rules"

    def meets_all(other: Obj) -> bool:
        return all(speaks_of(world, t, pod, other) for t in required)

    if required:
        near = all(any(map(meets_all, neighbours(world, t["topologyKey"], node))) for t in required)
        anywhere = any(
            t["topologyKey"] in labels(other) and any(map(meets_all, world.on(name)))
            for t in required
            for name, other in world.nodes.items()
        )
        if not near and (anywhere or not meets_all(pod)):
            return "node(s) didn't match pod affinity rules"
    for term in pod_terms(pod, "podAntiAffinity", "required"):
        around = neighbours(world, term["topologyKey"], node)
        if any(speaks_of(world, term, pod, p) for p in around):
            return "node(s) didn't match pod anti-affinity rules"
    for name, there in world.nodes.items():
        for other in world.on(name):
            for term in pod_terms(other, "podAntiAffinity", "required"):
                key = term["topologyKey"]
                same = key in labels(node) and labels(there).get(key) == labels(node)[key]
                if same and speaks_of(world, term, other, pod):
                    return "node(s) didn't satisfy existing pods anti-affinity rules"
    return None


def pod_affinity_scores(world: World, pod: Obj, feasible: list[str], args: Obj) -> dict[str, int]:
    hard_weight = args.get("hardPodAffinityWeight", 1)
    is_choosy = any(pod_terms(pod, side, "preferred") for side in SIDES)
    ignores = args.get("ignorePreferredTermsOfExistingPods", False) and not is_choosy

    def weights(owner: Obj, other: Obj, key: str) -> int:
        total = 0
        for side, sign in SIDES.items():
            for weighted in pod_terms(owner, side, "preferred"):
                term = weighted["podAffinityTerm"]
                if term["topologyKey"] == key and speaks_of(world, term, owner, other):
                    total += sign * weighted["weight"]
        return total

    def theirs(owner: Obj, key: str) -> int:
        if ignores:
            return 0
        hard = sum(
            t["topologyKey"] == key and speaks_of(world, t, owner, pod)
            for t in pod_terms(owner, "podAffinity", "required")
        )
        return weights(owner, pod, key) + hard * hard_weight

    keys = {key for node in world.nodes.values() for key in labels(node)}
    by_key = {
        key: {
            name: sum(weights(pod, p, key) + theirs(p, key) for p in world.on(name))
            for name in world.nodes
        }
        for key in keys
    }
    raw = {
        name: sum(
            by_node[other]
            for key, by_node in by_key.items()
            if key in labels(world.nodes[name])
            for other in world.nodes
            if labels(world.nodes[other]).get(key) == labels(world.nodes[name])[key]
        )
        for name in feasible
    }
    least, most = min(raw.values()), max(raw.values())
    if least == most:
        return dict.fromkeys(raw, 0)
    return {name: int(100 * ((value - least) / (most - least))) for name, value in raw.items()}


class Spreading:
    """A pod's spread constraints of one kind, its own or those that the profile gives to all."""

    def __init__(self, world: World, pod: Obj, action: str, args: Obj) -> None:
        self.world = world
        self.pod = pod
        own = pod["spec"].get("topologySpreadConstraints") or []
        is_system = args.get("defaultingType", "System") == "System"
        defaults = SYSTEM_DEFAULTS if is_system else args.get("defaultConstraints") or []
        self.selectors = [] if own else workload_selectors(world, pod)
        given = own or (defaults if self.selectors else [])
        self.constraints = [c for c in given if c["whenUnsatisfiable"] == action]
        self.keys = [c["topologyKey"] for c in self.constraints]
        self.needs_all_keys = bool(own) or not is_system

    def selects(self, constraint: Obj, other: Obj) -> bool:
        """Whether the constraint counts the pod, wherever it runs."""
        if self.selectors:
            return all(selects(selector, labels(other)) for selector in self.selectors)
        if not selects(constraint.get("labelSelector"), labels(other)):
            return False
        mine = labels(self.pod)
        shared = [key for key in constraint.get("matchLabelKeys") or [] if key in mine]
        return all(labels(other).get(key) == mine[key] for key in shared)

    def count(self, constraint: Obj, node: str) -> int:
        selector = constraint.get("labelSelector")
        if not self.selectors and selector == {} and not self._shares_labels(constraint):
            return 0
        return sum(
            "deletionTimestamp" not in p["metadata"]
            and namespace(p) == namespace(self.pod)
            and self.selects(constraint, p)
            for p in self.world.on(node)
        )

    def counts(self, constraint: Obj, node: Obj) -> bool:
        """Whether the node's pods count for the constraint."""
        if self.needs_all_keys and any(key not in labels(node) for key in self.keys):
            return False
        if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not admitted(
            self.pod, node
        ):
            return False
        honors_taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
        return not (honors_taints and kept_off(node, tolerations_of(self.pod)))

    def loads(self, constraint: Obj) -> dict[str, int]:
        """Matching pods in each domain of nodes that count."""
        key = constraint["topologyKey"]
        result: dict[str, int] = {}
        for name, node in self.world.nodes.items():
            if key in labels(node) and self.counts(constraint, node):
                value = labels(node)[key]
                result[value] = result.get(value, 0) + self.count(constraint, name)
        return result

    def _shares_labels(self, constraint: Obj) -> bool:
        return any(key in labels(self.pod) for key in constraint.get("matchLabelKeys") or [])


def workload_selectors(world: World, pod: Obj) -> list[Obj]:
    """The selectors of the Services and of the controller around the pod."""
    merged: dict[str, str] = {}
    for service in world.services:
        selector = service["spec"].get("selector") or {}
        same = namespace(service) == namespace(pod)
        if same and selector and selector.items() <= labels(pod).items():
            merged |= selector
    found: list[Obj] = [{"matchLabels": merged}] if merged else []
    for reference in pod["metadata"].get("ownerReferences") or []:
        owner = world.owners.get(reference["uid"])
        if owner is not None:
            selector = owner["spec"]["selector"]
            is_plain = owner["kind"] == "ReplicationController"
            found.append({"matchLabels": selector} if is_plain else selector)
    return found


class HardSpread(Spreading):
    """DoNotSchedule: no domain may lead the emptiest by more than the skew."""

    def __init__(self, world: World, pod: Obj, args: Obj) -> None:
        super().__init__(world, pod, "DoNotSchedule", args)
        self.needs_all_keys = True
        self._loads = [self.loads(constraint) for constraint in self.constraints]

    def reason(self, node: Obj) -> str | None:
        for constraint, loads in zip(self.constraints, self._loads, strict=True):
            key = constraint["topologyKey"]
            if key not in labels(node):
                return (
                    "node(s) didn't match pod topology spread constraints (missing required label)"
                )
            least = min(loads.values(), default=0)
            if len(loads) < constraint.get("minDomains", 1):
                least = 0
            own = self.selects(constraint, self.pod)
            if loads.get(labels(node)[key], 0) + own - least > constraint["maxSkew"]:
                return "node(s) didn't match pod topology spread constraints"
        return None


def spread_scores(world: World, pod: Obj, feasible: list[str], args: Obj) -> dict[str, int] | None:
    """ScheduleAnyway; None without such constraints."""
    soft = Spreading(world, pod, "ScheduleAnyway", args)
    if not soft.constraints:
        return None
    judged = [
        name
        for name in feasible
        if not soft.needs_all_keys or all(k in labels(world.nodes[name]) for k in soft.keys)
    ]
    totals = dict.fromkeys(judged, 0.0)
    for constraint in soft.constraints:
        key = constraint["topologyKey"]
        loads = soft.loads(constraint)
        # Nodes without the label count as one domain more.
        values = {labels(world.nodes[n]).get(key) for n in judged}
        size = len(judged) if key == HOST else len(values)
        for name in judged:
            if key not in labels(world.nodes[name]):
                continue
            own = soft.count(constraint, name)
            count = own if key == HOST else loads.get(labels(world.nodes[name])[key], 0)
            totals[name] += count * math.log(size + 2) + constraint["maxSkew"] - 1
    raw = {name: math.floor(total + 0.5) for name, total in totals.items()}
    result = dict.fromkeys(feasible, 0)
    if raw:
        least, most = min(raw.values()), max(raw.values())
        for name, value in raw.items():
            result[name] = 100 if most == 0 else 100 * (most + least - value) // most
    return result
