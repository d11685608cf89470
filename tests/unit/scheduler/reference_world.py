"""A slow, plain reference of the scheduler, written from what its rules mean: the world it judges.

No arrays and no caches of answers: every answer is computed from the objects. Tests compare the
columns with it. Here is what all parts share: the objects, and small questions about them.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from kybern.api.quantity import Quantity
from kybern.api.selectors import LabelSelector

Obj = dict[str, Any]

MEBI = 1024 * 1024
HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


class World:
    """Nodes by name, pods by uid (``spec.nodeName`` says where), and what else rules look at."""

    def __init__(self) -> None:
        self.nodes: dict[str, Obj] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.services: list[Obj] = []
        self.owners: dict[str, Obj] = {}
        self.claims: dict[str, Obj] = {}
        self.volumes: dict[str, Obj] = {}
        self.classes: dict[str, Obj] = {}
        self.csi_nodes: dict[str, Obj] = {}
        self._pods: dict[str, dict[str, Obj]] = {}

    @property
    def pods(self) -> Iterator[Obj]:
        """Every placed pod."""
        return (pod for there in self._pods.values() for pod in there.values())

    def on(self, name: str) -> list[Obj]:
        return list(self._pods.get(name, {}).values())

    def put(self, pod: Obj) -> None:
        """Place a pod, or replace the object of a placed one."""
        self._pods.setdefault(pod["spec"]["nodeName"], {})[uid(pod)] = pod

    def take(self, pod: Obj) -> None:
        del self._pods[pod["spec"]["nodeName"]][uid(pod)]

    def copy(self) -> "World":
        """The same objects, with pods that can come and go without the other noticing."""
        other = World()
        other.__dict__.update(self.__dict__)
        other._pods = {name: dict(there) for name, there in self._pods.items()}
        return other


def uid(obj: Obj) -> str:
    return str(obj["metadata"]["uid"])


def namespace(obj: Obj) -> str:
    return str(obj["metadata"]["namespace"])


def labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


@cache
def amount(name: str, quantity: str) -> int:
    """cpu in milli, all else in units."""
    parsed = Quantity.parse(quantity)
    return parsed.milli() if name == "cpu" else parsed.value()


def selects(selector: Obj | None, found: dict[str, str]) -> bool:
    """A label selector; None selects nothing."""
    return parsed(json.dumps(selector)).matches(found)


@cache
def parsed(selector: str) -> LabelSelector:
    return LabelSelector.from_object(json.loads(selector))


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


def tolerations_of(pod: Obj) -> list[Obj]:
    return pod["spec"].get("tolerations") or []


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
    """A node selector term; an empty one holds nowhere."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    return (
        bool(expressions or fields)
        and all(expression_holds(e, labels(node).get(e["key"])) for e in expressions)
        and all(expression_holds(f, node["metadata"]["name"]) for f in fields)
    )


def node_affinity(pod: Obj) -> Obj:
    return (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}


def required_terms(affinity: Obj) -> list[Obj] | None:
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required["nodeSelectorTerms"]


def admitted(pod: Obj, node: Obj) -> bool:
    """The pod's own nodeSelector and required node affinity."""
    selector = pod["spec"].get("nodeSelector") or {}
    if not selector.items() <= labels(node).items():
        return False
    terms = required_terms(node_affinity(pod))
    return terms is None or any(term_holds(t, node) for t in terms)


def scaled(raw: dict[str, int], reverse: bool) -> dict[str, int]:
    """The largest becomes 100; ``reverse`` turns low into good."""
    largest = max(raw.values())
    if largest == 0:
        return dict.fromkeys(raw, 100 if reverse else 0)
    result = {name: value * 100 // largest for name, value in raw.items()}
    return {name: 100 - value for name, value in result.items()} if reverse else result
