"""A slow, plain reference of preemption: whom to evict on a node, and on which node.

Written from what upstream documents: take away everything of lower priority, give back as much as
possible (what a disruption budget protects first, then by importance), and prefer the node that
breaks the fewest budgets, then spares the more important pods.
"""

from dataclasses import dataclass
from typing import Any

from reference import NodeJudge, named_nodes
from reference_resources import allocatable, requests
from reference_storage import LOST, MISPLACED, UNMATCHED, rejection
from reference_world import World, labels, uid

Obj = dict[str, Any]

FINAL = (
    "node(s) were unschedulable",
    "node(s) had untolerated taint(s)",
    "node(s) didn't match Pod's node affinity/selector",
    MISPLACED,
    UNMATCHED,
    LOST,
    "node(s) had no available volume zone",
    "node(s) didn't match pod affinity rules",
    "node(s) didn't match pod topology spread constraints (missing required label)",
)


@dataclass
class Eviction:
    node: str
    victims: list[str]
    broken: int
    rank: tuple[int, int, int, int]
    start: str


def priority(pod: Obj) -> int:
    return int(pod["spec"].get("priority") or 0)


def start(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("startTime") or "9999-12-31T23:59:59Z")


def without(world: World, gone: list[Obj]) -> World:
    left = world.copy()
    for pod in gone:
        left.take(pod)
    return left


def reasons(world: World, pod: Obj, name: str) -> list[str]:
    return NodeJudge(world, pod, {}).reasons(name)


def why_not(world: World, pod: Obj, name: str, nominated: dict[str, list[Obj]]) -> list[str]:
    """Filters, then once more with the nominated pods that the pod must leave room for."""
    if why := reasons(world, pod, name):
        return why
    rivals = [one for one in nominated.get(name, ()) if priority(one) >= priority(pod)]
    crowded = world.copy()
    for one in rivals:
        crowded.put({**one, "spec": {**one["spec"], "nodeName": name}})
    return reasons(crowded, pod, name) if rivals else []


def may_help(world: World, pod: Obj, name: str, why: list[str]) -> bool:
    if any(text in FINAL for text in why):
        return False
    lacks = any(text.startswith(("Insufficient", "Too many")) for text in why)
    asked = requests(pod).items()
    return not (lacks and any(a > allocatable(world.nodes[name], r) for r, a in asked if a))


def by_importance(pods: list[Obj]) -> list[Obj]:
    return sorted(pods, key=lambda pod: (-priority(pod), start(pod)))


def protected(pods: list[Obj], budgets: list[Obj]) -> list[str]:
    """The pods whose eviction breaks a budget when they are evicted in this order."""
    left = [budget["status"]["disruptionsAllowed"] for budget in budgets]
    found = []
    for pod in pods:
        breaks = False
        for index, budget in enumerate(budgets):
            wanted = budget["spec"]["selector"]["matchLabels"]
            same = budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
            if same and all(labels(pod).get(key) == value for key, value in wanted.items()):
                left[index] -= 1
                breaks = breaks or left[index] < 0
        if breaks:
            found.append(uid(pod))
    return found


def evict(
    world: World, pod: Obj, name: str, budgets: list[Obj], nominated: dict[str, list[Obj]]
) -> Eviction | list[str]:
    lower = [one for one in world.on(name) if priority(one) < priority(pod)]
    if not lower:
        return ["No preemption victims found for incoming pod"]
    gone = list(lower)
    if why := why_not(without(world, gone), pod, name, nominated):
        return why
    ordered = by_importance(lower)
    held = protected(ordered, budgets)
    ordered.sort(key=lambda one: uid(one) not in held)
    broken = 0
    for one in ordered:
        gone.remove(one)
        if why_not(without(world, gone), pod, name, nominated):
            gone.append(one)
            broken += uid(one) in held
    victims = by_importance(gone)
    priorities = [priority(one) for one in victims]
    total = sum(value + 2**31 for value in priorities)
    top = [start(one) for one in victims if priority(one) == priorities[0]]
    rank = (broken, priorities[0], total, len(victims))
    return Eviction(name, [uid(one) for one in victims], broken, rank, min(top))


def best(
    world: World,
    pod: Obj,
    budgets: list[Obj],
    nominated: dict[str, list[Obj]],
    wanted: int,
    offset: int,
) -> list[Eviction]:
    """The candidates that none beats, in the order in which they were found."""
    names = []
    allowed = named_nodes(pod)
    if rejection(world, pod) or allowed == set():
        return []
    for name in world.nodes:
        if allowed is not None and name not in allowed:
            continue
        why = why_not(world, pod, name, nominated)
        if may_help(world, pod, name, why):
            names.append(name)
    found: list[Eviction] = []
    for step in range(len(names)):
        one = evict(world, pod, names[(offset + step) % len(names)], budgets, nominated)
        if isinstance(one, Eviction):
            found.append(one)
            if len(found) >= wanted and any(not other.broken for other in found):
                break
    lowest = min((one.rank for one in found), default=None)
    found = [one for one in found if one.rank == lowest]
    latest = max((one.start for one in found), default="")
    return [one for one in found if one.start == latest]
