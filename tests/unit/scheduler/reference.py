"""A slow, plain reference of the scheduler's filters and scores, written from what they mean.

No arrays, no caches: every answer is computed from the objects. Tests compare the columns with it.
"""

import math
from typing import Any

from kybern.api.quantity import Quantity
from kybern.api.selectors import LabelSelector

Obj = dict[str, Any]

MEBI = 1024 * 1024


class World:
    """Nodes by name and the pods on them (``spec.nodeName`` set), namespaces' labels."""

    def __init__(self) -> None:
        self.nodes: dict[str, Obj] = {}
        self.pods: list[Obj] = []
        self.namespaces: dict[str, dict[str, str]] = {}

    def on(self, name: str) -> list[Obj]:
        return [pod for pod in self.pods if pod["spec"]["nodeName"] == name]


def labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def amount(name: str, quantity: str) -> int:
    parsed = Quantity.parse(quantity)
    return parsed.milli() if name == "cpu" else parsed.value()


def requests(pod: Obj, nonzero: bool = False) -> dict[str, int]:
    def container(spec: Obj) -> dict[str, int]:
        given = (spec.get("resources") or {}).get("requests") or {}
        asked = {name: amount(name, value) for name, value in given.items()}
        if nonzero:
            asked = {"cpu": 100, "memory": 200 * MEBI} | asked
        return asked

    def plus(one: dict[str, int], two: dict[str, int]) -> dict[str, int]:
        return {n: one.get(n, 0) + two.get(n, 0) for n in [*one, *two]}

    def larger(one: dict[str, int], two: dict[str, int]) -> dict[str, int]:
        return {n: max(one.get(n, 0), two.get(n, 0)) for n in [*one, *two]}

    total: dict[str, int] = {}
    for spec in pod["spec"]["containers"]:
        total = plus(total, container(spec))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for spec in pod["spec"].get("initContainers") or []:
        if spec.get("restartPolicy") == "Always":
            total = plus(total, container(spec))
            sidecars = plus(sidecars, container(spec))
            peak = larger(peak, sidecars)
        else:
            peak = larger(peak, plus(sidecars, container(spec)))
    total = larger(total, peak)
    overhead = pod["spec"].get("overhead") or {}
    return plus(total, {name: amount(name, value) for name, value in overhead.items()})


def used(world: World, node: str, nonzero: bool = False) -> dict[str, int]:
    total: dict[str, int] = {}
    for pod in world.on(node):
        for name, value in requests(pod, nonzero).items():
            total[name] = total.get(name, 0) + value
    return total


def allocatable(node: Obj, name: str) -> int:
    quantities = node["status"]["allocatable"]
    return amount(name, quantities[name]) if name in quantities else 0


def tolerated(taint: Obj, tolerations: list[Obj]) -> bool:
    for toleration in tolerations:
        if toleration.get("effect") and toleration["effect"] != taint["effect"]:
            continue
        if toleration.get("key") and toleration["key"] != taint["key"]:
            continue
        if toleration.get("operator") == "Exists":
            return True
        if toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def kept_off(node: Obj, tolerations: list[Obj]) -> bool:
    return any(
        t["effect"] != "PreferNoSchedule" and not tolerated(t, tolerations)
        for t in node["spec"].get("taints") or []
    )


def expression_holds(expression: Obj, value: str | None) -> bool:
    values = expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and value.isdigit() and int(value) > int(values[0])
        case _:
            return value is not None and value.isdigit() and int(value) < int(values[0])


def term_holds(term: Obj, node: Obj) -> bool:
    expressions = term.get("matchExpressions") or []
    return bool(expressions) and all(
        expression_holds(e, labels(node).get(e["key"])) for e in expressions
    )


def node_affinity(pod: Obj) -> Obj:
    return (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}


def admitted(pod: Obj, node: Obj) -> bool:
    selector = pod["spec"].get("nodeSelector") or {}
    if not selector.items() <= labels(node).items():
        return False
    required = node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(term_holds(t, node) for t in required["nodeSelectorTerms"])


def host_ports(pod: Obj) -> list[tuple[str, int]]:
    inits = pod["spec"].get("initContainers") or []
    sidecars = [c for c in inits if c.get("restartPolicy") == "Always"]
    return [
        (port.get("hostIP") or "0.0.0.0", port["hostPort"])
        for container in pod["spec"]["containers"] + sidecars
        for port in container.get("ports") or []
    ]


def pod_terms(pod: Obj, side: str, kind: str) -> list[Obj]:
    terms = (pod["spec"].get("affinity") or {}).get(side) or {}
    return terms.get(f"{kind}DuringSchedulingIgnoredDuringExecution") or []


def speaks_of(world: World, term: Obj, owner: Obj, pod: Obj) -> bool:
    namespace = pod["metadata"]["namespace"]
    namespaces = term.get("namespaces") or []
    selector = term.get("namespaceSelector")
    if not namespaces and selector is None:
        namespaces = [owner["metadata"]["namespace"]]
    if namespace not in namespaces:
        if selector is None:
            return False
        if not LabelSelector.from_object(selector).matches(world.namespaces.get(namespace, {})):
            return False
    return LabelSelector.from_object(term.get("labelSelector")).matches(labels(pod))


def same_domain(world: World, key: str, one: Obj, other: Obj) -> bool:
    return key in labels(one) and labels(one)[key] == labels(other).get(key)


def neighbours(world: World, key: str, node: Obj) -> list[Obj]:
    return [
        pod
        for pod in world.pods
        if pod["spec"]["nodeName"] in world.nodes
        and same_domain(world, key, node, world.nodes[pod["spec"]["nodeName"]])
    ]


def pod_affinity_reason(world: World, pod: Obj, node: Obj) -> str | None:
    required = pod_terms(pod, "podAffinity", "required")
    matching = [p for p in world.pods if all(speaks_of(world, t, pod, p) for t in required)]
    if any(t["topologyKey"] not in labels(node) for t in required):
        return "node(s) didn't match pod affinity rules"
    near = all(
        any(p in matching for p in neighbours(world, t["topologyKey"], node)) for t in required
    )
    anywhere = any(
        t["topologyKey"] in labels(world.nodes[p["spec"]["nodeName"]])
        for t in required
        for p in matching
        if p["spec"]["nodeName"] in world.nodes
    )
    first = not anywhere and all(speaks_of(world, t, pod, pod) for t in required)
    if required and not near and not first:
        return "node(s) didn't match pod affinity rules"
    for term in pod_terms(pod, "podAntiAffinity", "required"):
        around = neighbours(world, term["topologyKey"], node)
        if any(speaks_of(world, term, pod, p) for p in around):
            return "node(s) didn't match pod anti-affinity rules"
    for other in world.pods:
        for term in pod_terms(other, "podAntiAffinity", "required"):
            if speaks_of(world, term, other, pod) and other in neighbours(
                world, term["topologyKey"], node
            ):
                return "node(s) didn't satisfy existing pods anti-affinity rules"
    return None


def spread_constraints(pod: Obj, action: str) -> list[Obj]:
    own = pod["spec"].get("topologySpreadConstraints") or []
    return [c for c in own if c["whenUnsatisfiable"] == action]


def spread_count(world: World, pod: Obj, constraint: Obj, node: str) -> int:
    selector = LabelSelector.from_object(constraint.get("labelSelector"))
    if selector.empty:
        return 0
    return sum(
        "deletionTimestamp" not in p["metadata"]
        and p["metadata"]["namespace"] == pod["metadata"]["namespace"]
        and selector.matches(labels(p))
        for p in world.on(node)
    )


def counts_for_spread(pod: Obj, constraint: Obj, node: Obj, keys: list[str]) -> bool:
    if any(key not in labels(node) for key in keys):
        return False
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not admitted(pod, node):
        return False
    honors_taints = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
    return not (honors_taints and kept_off(node, pod["spec"].get("tolerations") or []))


def spread_reason(world: World, pod: Obj, node: Obj) -> str | None:
    constraints = spread_constraints(pod, "DoNotSchedule")
    keys = [c["topologyKey"] for c in constraints]
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in labels(node):
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        loads: dict[str, int] = {}
        for name, other in world.nodes.items():
            if counts_for_spread(pod, constraint, other, keys):
                value = labels(other)[key]
                loads[value] = loads.get(value, 0) + spread_count(world, pod, constraint, name)
        least = min(loads.values(), default=0)
        if len(loads) < constraint.get("minDomains", 1):
            least = 0
        own = LabelSelector.from_object(constraint.get("labelSelector")).matches(labels(pod))
        if loads.get(labels(node)[key], 0) + own - least > constraint["maxSkew"]:
            return "node(s) didn't match pod topology spread constraints"
    return None


def reasons(world: World, pod: Obj, name: str) -> list[str]:
    """Why the node is not feasible, in upstream's plugin order; empty if it is."""
    node = world.nodes[name]
    tolerations = pod["spec"].get("tolerations") or []
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node["spec"].get("unschedulable") and not tolerated(cordon, tolerations):
        return ["node(s) were unschedulable"]
    if kept_off(node, tolerations):
        return ["node(s) had untolerated taint(s)"]
    if not admitted(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    taken = [port for other in world.on(name) for port in host_ports(other)]
    for address, port in host_ports(pod):
        for other_address, other in taken:
            clash = address == other_address or "0.0.0.0" in (address, other_address)
            if port == other and clash:
                return ["node(s) didn't have free ports for the requested pod ports"]
    lacking = []
    if len(world.on(name)) + 1 > allocatable(node, "pods"):
        lacking.append("Too many pods")
    held = used(world, name)
    for resource, asked in requests(pod).items():
        if asked and asked > allocatable(node, resource) - held.get(resource, 0):
            lacking.append(f"Insufficient {resource}")
    if lacking:
        return lacking
    for check in (spread_reason, pod_affinity_reason):
        if (reason := check(world, pod, node)) is not None:
            return [reason]
    return []


def least_allocated(world: World, pod: Obj, name: str) -> int:
    node, held, asked = world.nodes[name], used(world, name, True), requests(pod, True)
    scores = []
    for resource in ("cpu", "memory"):
        has = allocatable(node, resource)
        if has:
            would = held.get(resource, 0) + asked.get(resource, 0)
            scores.append((has - would) * 100 // has if would <= has else 0)
    return sum(scores) // len(scores) if scores else 0


def balanced(world: World, pod: Obj, name: str) -> int | None:
    node, held, asked = world.nodes[name], used(world, name), requests(pod)
    if not asked.get("cpu") and not asked.get("memory"):
        return None

    def evenness(extra: dict[str, int]) -> int:
        shares = []
        for resource in ("cpu", "memory"):
            has = allocatable(node, resource)
            if has:
                share = (held.get(resource, 0) + extra.get(resource, 0)) / has
                shares.append(min(share, 1.0))
        deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
        return int((1 - deviation) * 100)

    return 50 + (50 + evenness(asked) - evenness({})) // 2


def scaled(raw: dict[str, int], reverse: bool) -> dict[str, int]:
    largest = max(raw.values())
    if largest == 0:
        return dict.fromkeys(raw, 100 if reverse else 0)
    result = {name: value * 100 // largest for name, value in raw.items()}
    return {name: 100 - value for name, value in result.items()} if reverse else result


def taint_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    soft = [
        t
        for t in pod["spec"].get("tolerations") or []
        if t.get("effect") in (None, "", "PreferNoSchedule")
    ]
    raw = {
        name: sum(
            t["effect"] == "PreferNoSchedule" and not tolerated(t, soft)
            for t in world.nodes[name]["spec"].get("taints") or []
        )
        for name in feasible
    }
    return scaled(raw, reverse=True)


def affinity_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    terms = node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution") or []
    raw = {
        name: sum(t["weight"] for t in terms if term_holds(t["preference"], world.nodes[name]))
        for name in feasible
    }
    return scaled(raw, reverse=False)


def spread_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    constraints = spread_constraints(pod, "ScheduleAnyway")
    keys = [c["topologyKey"] for c in constraints]
    judged = [n for n in feasible if all(k in labels(world.nodes[n]) for k in keys)]
    raw: dict[str, int] = {}
    for name in judged:
        total = 0.0
        for constraint in constraints:
            key = constraint["topologyKey"]
            if key == "kubernetes.io/hostname":
                size = len(judged)
                count = spread_count(world, pod, constraint, name)
            else:
                size = len({labels(world.nodes[n])[key] for n in judged})
                count = sum(
                    spread_count(world, pod, constraint, n)
                    for n, other in world.nodes.items()
                    if counts_for_spread(pod, constraint, other, keys)
                    and labels(other)[key] == labels(world.nodes[name])[key]
                )
            total += count * math.log(size + 2) + constraint["maxSkew"] - 1
        raw[name] = math.floor(total + 0.5)
    result = dict.fromkeys(feasible, 0)
    if raw:
        least, most = min(raw.values()), max(raw.values())
        for name, value in raw.items():
            result[name] = 100 if most == 0 else 100 * (most + least - value) // most
    return result


def pod_affinity_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    def weights(owner: Obj, other: Obj, key: str) -> int:
        total = 0
        for side, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
            for weighted in pod_terms(owner, side, "preferred"):
                term = weighted["podAffinityTerm"]
                if term["topologyKey"] == key and speaks_of(world, term, owner, other):
                    total += sign * weighted["weight"]
        return total

    def hard(owner: Obj, other: Obj, key: str) -> int:
        return sum(
            t["topologyKey"] == key and speaks_of(world, t, owner, other)
            for t in pod_terms(owner, "podAffinity", "required")
        )

    keys = ("kubernetes.io/hostname", "zone", "rack")
    raw = {
        name: sum(
            weights(pod, other, key) + weights(other, pod, key) + hard(other, pod, key)
            for key in keys
            for other in neighbours(world, key, world.nodes[name])
        )
        for name in feasible
    }
    least, most = min(raw.values()), max(raw.values())
    if least == most:
        return dict.fromkeys(raw, 0)
    return {name: int(100 * ((value - least) / (most - least))) for name, value in raw.items()}


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
            image = container["image"] + ":latest"
            if image in images(world.nodes[name]):
                having = sum(image in images(node) for node in world.nodes.values())
                total += int(images(world.nodes[name])[image] * (having / len(world.nodes)))
        most = 1000 * MEBI * len(containers)
        clipped = min(max(total, 23 * MEBI), most)
        result[name] = 100 * (clipped - 23 * MEBI) // (most - 23 * MEBI)
    return result


def scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, dict[str, int]]:
    """Every plugin's normalised score for feasible nodes; plugins that have no say are absent."""
    table = {
        "TaintToleration": taint_scores(world, pod, feasible),
        "NodeResourcesFit": {n: least_allocated(world, pod, n) for n in feasible},
    }
    if node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution"):
        table["NodeAffinity"] = affinity_scores(world, pod, feasible)
    if spread_constraints(pod, "ScheduleAnyway"):
        table["PodTopologySpread"] = spread_scores(world, pod, feasible)
    even = {n: balanced(world, pod, n) for n in feasible}
    if None not in even.values():
        table["NodeResourcesBalancedAllocation"] = {n: v for n, v in even.items() if v is not None}
    table["ImageLocality"] = image_scores(world, pod, feasible)
    table["InterPodAffinity"] = pod_affinity_scores(world, pod, feasible)
    return table
