"""The node table: one row a node, one column a fact.

``ClusterColumns`` writes it from Node objects and placed pods; plugins read it. A row exists while
there is a Node or a pod that names one; ``alive`` says whether the Node exists. Rows are reused.
Node facts (labels, taints, capacity) and usage (pods placed) have a change log each, because most
plugins depend on one of them only.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from kybern.api.quantity import Quantity
from kybern.scheduler.columns.change_log import ChangeLog
from kybern.scheduler.columns.column import Column, Rows
from kybern.scheduler.columns.divisor import Divisor
from kybern.scheduler.columns.images import ImageTable
from kybern.scheduler.columns.labels import LabelColumn
from kybern.scheduler.columns.taints import TaintSets, node_taints
from kybern.scheduler.requests import is_scalar_resource

Obj = dict[str, Any]

FIRST_CAPACITY = 64


class Resource:
    """Allocatable and requested amounts of one resource: cpu in milli, others in units."""

    __slots__ = ("allocatable", "divisor", "requested")

    def __init__(self, capacity: int, alive: Column, facts: ChangeLog[int]) -> None:
        self.allocatable = Column(capacity)
        self.requested = Column(capacity)
        self.divisor = Divisor(self.allocatable, alive, facts)


class NodeTable:
    """All nodes as columns."""

    def __init__(self) -> None:
        self.capacity = FIRST_CAPACITY
        self.names: list[str] = []
        self.objects: list[Obj | None] = []
        self.rows: dict[str, int] = {}
        self.alive = Column(self.capacity)
        self.unschedulable = Column(self.capacity)
        self.taint_set = Column(self.capacity)
        self.pod_count = Column(self.capacity)
        self.pod_limit = Column(self.capacity)
        self.nonzero_cpu = Column(self.capacity)
        self.nonzero_memory = Column(self.capacity)
        self.resources: dict[str, Resource] = {}
        self.labels: dict[str, LabelColumn] = {}
        self.taints = TaintSets()
        self.images = ImageTable()
        self.facts: ChangeLog[int] = ChangeLog()
        self.usage: ChangeLog[int] = ChangeLog()
        self.epoch = 0
        self.node_count = 0
        self.on_growth: list[Callable[[int], None]] = []
        self._free: list[int] = []
        for name in ("cpu", "memory", "ephemeral-storage"):
            self.resource(name)

    def row(self, name: str) -> int:
        """The row of a node name, made if it is new."""
        row = self.rows.get(name)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self.names[row] = name
        else:
            row = len(self.names)
            if row == self.capacity:
                self._grow()
            self.names.append(name)
            self.objects.append(None)
        self.rows[name] = row
        return row

    def resource(self, name: str) -> Resource:
        """The columns of a resource; made on first use and filled from the known nodes."""
        found = self.resources.get(name)
        if found is None:
            found = self.resources[name] = Resource(self.capacity, self.alive, self.facts)
            for row, obj in enumerate(self.objects):
                if obj is not None:
                    found.allocatable.cells[row] = _amount(_allocatable(obj), name)
        return found

    def label(self, key: str) -> LabelColumn:
        """The column of a label key; made on first use and filled from the known nodes."""
        found = self.labels.get(key)
        if found is None:
            found = self.labels[key] = LabelColumn(key, self.capacity)
            for row, obj in enumerate(self.objects):
                if obj is not None:
                    found.set(row, _labels(obj).get(key))
        return found

    def count(self, rows: Any) -> int:
        """How many rows an index array or a slice selects."""
        return len(self.alive.values[rows] if isinstance(rows, slice) else rows)

    def positions(self, rows: Any) -> Rows:
        """The row numbers that an index array or a slice selects."""
        return np.arange(self.capacity)[rows]

    def set_node(self, row: int, obj: Obj) -> bool:
        """Write a node's facts; False if nothing changed that scheduling looks at."""
        old = self.objects[row]
        self.objects[row] = obj
        if old is not None and _scheduling_facts(old) == _scheduling_facts(obj):
            return False
        spec = obj.get("spec") or {}
        allocatable = _allocatable(obj)
        for name in allocatable:
            if is_scalar_resource(name):
                self.resource(name)
        for name, resource in self.resources.items():
            resource.allocatable.cells[row] = _amount(allocatable, name)
        self.pod_limit.cells[row] = _amount(allocatable, "pods")
        labels = _labels(obj)
        for key, column in self.labels.items():
            column.set(row, labels.get(key))
        self.unschedulable.cells[row] = bool(spec.get("unschedulable"))
        self.taint_set.cells[row] = self.taints.intern(node_taints(obj))
        self.images.set(row, (obj.get("status") or {}).get("images") or ())
        if not self.alive.cells[row]:
            self.alive.cells[row] = 1
            self.node_count += 1
        self.facts.append(row)
        return True

    def clear_node(self, row: int) -> None:
        """The Node is gone; its pods may still be there."""
        self.objects[row] = None
        for resource in self.resources.values():
            resource.allocatable.cells[row] = 0
        for column in self.labels.values():
            column.set(row, None)
        self.images.set(row, ())
        self.pod_limit.cells[row] = 0
        self.unschedulable.cells[row] = 0
        self.taint_set.cells[row] = 0
        if self.alive.cells[row]:
            self.alive.cells[row] = 0
            self.node_count -= 1
        self.facts.append(row)

    def release(self, row: int) -> None:
        """Give back a row that has neither a Node nor pods."""
        assert not self.alive.cells[row] and not self.pod_count.cells[row]
        del self.rows[self.names[row]]
        self.names[row] = ""
        self._free.append(row)

    def _grow(self) -> None:
        self.capacity *= 2
        for column in self._columns():
            column.grow(self.capacity)
        for label in self.labels.values():
            label.grow(self.capacity)
        for react in self.on_growth:
            react(self.capacity)
        self.epoch += 1

    def _columns(self) -> list[Column]:
        plain = [
            self.alive,
            self.unschedulable,
            self.taint_set,
            self.pod_count,
            self.pod_limit,
            self.nonzero_cpu,
            self.nonzero_memory,
        ]
        pairs = self.resources.values()
        return plain + [c for pair in pairs for c in (pair.allocatable, pair.requested)]


def _allocatable(node: Obj) -> Obj:
    status = node.get("status") or {}
    return status.get("allocatable") or {}


def _labels(node: Obj) -> dict[str, str]:
    return node["metadata"].get("labels") or {}


def _amount(quantities: Obj, name: str) -> int:
    if name not in quantities:
        return 0
    quantity = Quantity.parse(quantities[name])
    return quantity.milli() if name == "cpu" else quantity.value()


def allocatable_amount(node: Obj, name: str) -> int:
    """How much of a resource a Node object offers."""
    return _amount(_allocatable(node), name)


def _scheduling_facts(node: Obj) -> tuple[Any, ...]:
    """What a decision reads of a Node; a heartbeat leaves it as it was."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (
        node["metadata"].get("labels"),
        spec.get("taints"),
        spec.get("unschedulable"),
        status.get("allocatable"),
        status.get("images"),
        status.get("declaredFeatures"),
    )
