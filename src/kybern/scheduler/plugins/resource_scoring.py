"""How full nodes would be with the pod: shared by NodeResourcesFit and BalancedAllocation.

``scored_resources`` picks the columns and the pod's share of each resource that counts for a pod.
Scores have a vector and a scalar form that compute with the same integers and the same floats, so
that a row scored alone equals the row scored among all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kybern.scheduler.columns.column import Column
from kybern.scheduler.columns.divisor import Divisor
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.requests import Requests, is_scalar_resource

Obj = dict[str, Any]


class ScoredResource(NamedTuple):
    """One resource as the pod would change it."""

    allocatable: Column
    used: Column
    asked: int
    weight: int
    divisor: Divisor


class ResourceSpec(NamedTuple):
    name: str
    weight: int


def resource_specs(specs: Sequence[Obj] | None) -> tuple[ResourceSpec, ...]:
    """The ``resources`` argument; cpu and memory with weight 1 by default."""
    given = specs or [{"name": "cpu"}, {"name": "memory"}]
    return tuple(ResourceSpec(spec["name"], spec.get("weight") or 1) for spec in given)


def scored_resources(
    nodes: NodeTable, specs: Sequence[ResourceSpec], requests: Requests, nonzero: bool
) -> list[ScoredResource]:
    """The resources that count for a pod; extended ones only if the pod asks for them."""
    result: list[ScoredResource] = []
    for name, weight in specs:
        asked = requests.amount(name)
        if asked == 0 and is_scalar_resource(name):
            continue
        resource = nodes.resource(name)
        used = resource.requested
        if nonzero and name == "cpu":
            used, asked = nodes.nonzero_cpu, requests.nonzero_cpu
        elif nonzero and name == "memory":
            used, asked = nodes.nonzero_memory, requests.nonzero_memory
        result.append(ScoredResource(resource.allocatable, used, asked, weight, resource.divisor))
    return result
