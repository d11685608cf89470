"""The plain reference: what pods ask for, what nodes have left, and how full scores them."""

import math
from functools import cache
from typing import Any

import orjson
from reference_world import MEBI, World, amount

Obj = dict[str, Any]
Amounts = dict[str, int]

DEFAULT_SCORED = [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]


def plus(one: Amounts, two: Amounts) -> Amounts:
    return {n: one.get(n, 0) + two.get(n, 0) for n in [*one, *two]}


def larger(one: Amounts, two: Amounts) -> Amounts:
    return {n: max(one.get(n, 0), two.get(n, 0)) for n in [*one, *two]}


def amounts(quantities: Obj | None) -> Amounts:
    return {name: amount(name, value) for name, value in (quantities or {}).items()}


def effective(pod: Obj, asked: Amounts, actual: Obj | None, allocated: Obj | None) -> Amounts:
    """While a resize is under way the larger of the old and the new counts; a resize that cannot
    be done does not."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    pending = [c for c in conditions if c["type"] == "PodResizePending"]
    if pending and pending[0].get("reason") == "Infeasible":
        asked = {}
    return larger(asked, larger(amounts(actual), amounts(allocated)))


def requests(pod: Obj, nonzero: bool = False) -> Amounts:
    """What the pod counts with; ``nonzero`` as scores count it."""
    return _requests(orjson.dumps((pod["spec"], pod.get("status"))), nonzero)


@cache
def _requests(written: bytes, nonzero: bool) -> Amounts:
    pod = dict(zip(("spec", "status"), orjson.loads(written), strict=True))
    status = pod.get("status") or {}
    reported = {
        s["name"]: s
        for s in [
            *status.get("containerStatuses", []),
            *status.get("initContainerStatuses", []),
        ]
        if "resources" in s
    }

    def container(spec: Obj) -> Amounts:
        asked = amounts((spec.get("resources") or {}).get("requests"))
        is_running_on = spec["name"] in reported and not is_plain_init(pod, spec)
        if is_running_on:
            state = reported[spec["name"]]
            actual = state["resources"].get("requests")
            asked = effective(pod, asked, actual, state.get("allocatedResources"))
        return {"cpu": 100, "memory": 200 * MEBI} | asked if nonzero else asked

    total: Amounts = {}
    for spec in pod["spec"]["containers"]:
        total = plus(total, container(spec))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for spec in pod["spec"].get("initContainers") or []:
        if spec.get("restartPolicy") == "Always":
            total = plus(total, container(spec))
            sidecars = plus(sidecars, container(spec))
            peak = larger(peak, sidecars)
        else:
            peak = larger(peak, plus(sidecars, container(spec)))
    total = larger(total, peak)
    whole = amounts((pod["spec"].get("resources") or {}).get("requests"))
    if whole and "resources" in status:
        actual = status["resources"].get("requests")
        whole = {
            name: value
            for name, value in effective(
                pod, whole, actual, status.get("allocatedResources")
            ).items()
            if name in whole
        }
    return plus(total | whole, amounts(pod["spec"].get("overhead")))


def is_plain_init(pod: Obj, spec: Obj) -> bool:
    inits = pod["spec"].get("initContainers") or []
    return spec in inits and spec.get("restartPolicy") != "Always"


def used(world: World, node: str, nonzero: bool = False) -> Amounts:
    total: Amounts = {}
    for pod in world.on(node):
        for name, value in requests(pod, nonzero).items():
            total[name] = total.get(name, 0) + value
    return total


def allocatable(node: Obj, name: str) -> int:
    quantities = node["status"]["allocatable"]
    return amount(name, quantities[name]) if name in quantities else 0


def lacking(world: World, pod: Obj, name: str, args: Obj) -> list[str]:
    """Everything that the node has too little of."""
    node, held = world.nodes[name], used(world, name)
    result = []
    if len(world.on(name)) + 1 > allocatable(node, "pods"):
        result.append("Too many pods")
    for resource, asked in requests(pod).items():
        group = resource.partition("/")[0]
        ignored = resource in args.get("ignoredResources", ())
        ignored = ignored or group in args.get("ignoredResourceGroups", ())
        if ignored and "/" in resource:
            continue
        if asked and asked > allocatable(node, resource) - held.get(resource, 0):
            result.append(f"Insufficient {resource}")
    return result


def is_scalar(name: str) -> bool:
    return "/" in name or name.startswith("hugepages-")


def fractions(
    world: World, pod: Obj, name: str, specs: list[Obj], nonzero: bool
) -> list[tuple[int, int, int, int]]:
    """For each resource that counts: used, used with the pod, allocatable, weight.

    Where missing requests count, those of the pod as a whole do not.
    """
    if nonzero:
        spec = {key: value for key, value in pod["spec"].items() if key != "resources"}
        pod = {**pod, "spec": spec}
    node, held, asked = world.nodes[name], used(world, name), requests(pod)
    generous, wanted = used(world, name, True), requests(pod, True)
    result = []
    for spec in specs:
        resource = spec["name"]
        has = allocatable(node, resource)
        if not has or (is_scalar(resource) and not asked.get(resource)):
            continue
        is_nonzero = nonzero and resource in ("cpu", "memory")
        taken = (generous if is_nonzero else held).get(resource, 0)
        more = (wanted if is_nonzero else asked).get(resource, 0)
        result.append((taken, taken + more, has, spec.get("weight", 1)))
    return result


def fit_score(world: World, pod: Obj, name: str, args: Obj) -> int:
    """NodeResourcesFit with the strategy of the profile."""
    strategy = args.get("scoringStrategy") or {}
    kind = strategy.get("type", "LeastAllocated")
    points = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or []
    total = weights = 0
    for _, would, has, weight in fractions(
        world, pod, name, strategy.get("resources") or DEFAULT_SCORED, nonzero=True
    ):
        if kind == "LeastAllocated":
            score = (has - would) * 100 // has if would <= has else 0
        elif kind == "MostAllocated":
            score = min(would, has) * 100 // has
        else:
            score = on_line(points, 100 if would > has else would * 100 // has)
            if not score:
                continue
        total += score * weight
        weights += weight
    if not weights:
        return 0
    if kind == "RequestedToCapacityRatio":
        return math.floor(total / weights + 0.5)
    return total // weights


def on_line(points: list[Obj], utilization: int) -> int:
    """The broken line through the points, whose scores reach from 0 to 10."""
    for index, point in enumerate(points):
        if utilization <= point["utilization"]:
            if index == 0:
                return int(point["score"] * 10)
            before = points[index - 1]
            rise = (point["score"] - before["score"]) * 10
            run = point["utilization"] - before["utilization"]
            return int(before["score"] * 10) + int(
                rise * (utilization - before["utilization"]) / run
            )
    return int(points[-1]["score"] * 10)


def balanced(world: World, pod: Obj, name: str, args: Obj) -> int | None:
    """NodeResourcesBalancedAllocation; None for pods that ask for nothing that counts."""
    specs = args.get("resources") or DEFAULT_SCORED
    if not any(requests(pod).get(spec["name"]) for spec in specs):
        return None

    def evenness(shares: list[float]) -> int:
        deviation = 0.0
        if len(shares) == 2:
            deviation = abs((shares[0] - shares[1]) / 2)
        elif len(shares) > 2:
            mean = sum(shares) / len(shares)
            deviation = math.sqrt(sum((s - mean) * (s - mean) for s in shares) / len(shares))
        return int((1 - deviation) * 100)

    parts = fractions(world, pod, name, specs, nonzero=False)
    after = evenness([min(would / has, 1.0) for _, would, has, _ in parts])
    before = evenness([min(taken / has, 1.0) for taken, _, has, _ in parts])
    return 50 + (50 + after - before) // 2
