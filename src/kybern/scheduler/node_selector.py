"""Node selectors: which nodes a pod's nodeSelector and node affinity admit.

``SelectorMask`` judges rows of the node table by label columns, with the rules of
``kybern.api.node_fit``, which judges one Node object.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kybern.api.node_fit import NAME_FIELD, field_holds, label_holds
from kybern.scheduler.columns.column import Mask
from kybern.scheduler.columns.labels import LabelColumn
from kybern.scheduler.columns.node_table import NodeTable

Obj = dict[str, Any]


def named_nodes(terms: Iterable[Obj]) -> list[str] | None:
    """The node names that the terms confine the pod to, sorted; None if a term confines nothing."""
    names: set[str] = set()
    for term in terms:
        confined: set[str] | None = None
        for requirement in term.get("matchFields") or ():
            if requirement["key"] == NAME_FIELD and requirement["operator"] == "In":
                values = set(requirement.get("values") or [])
                confined = values if confined is None else confined & values
        if confined is None:
            return None
        names |= confined
    return sorted(names)


class SelectorMask:
    """A nodeSelector and terms over the node table."""

    def __init__(
        self, table: NodeTable, selector: Mapping[str, str], terms: Sequence[Obj] | None
    ) -> None:
        self._table = table
        self._selector = [(table.label(key), value) for key, value in selector.items()]
        self._terms = terms

    def over(self, rows: Any) -> Mask:
        """Which of ``rows`` (an index array or a slice) are admitted."""
        result: Mask = np.ones(self._table.count(rows), dtype=np.bool_)
        for column, value in self._selector:
            result &= column.domains.values[rows] == _present(column.id(value))
        if self._terms is not None:
            any_term = np.zeros_like(result)
            for term in self._terms:
                any_term |= term_mask(self._table, term, rows)
            result &= any_term
        return result


def term_mask(table: NodeTable, term: Obj, rows: Any) -> Mask:
    """One node selector term over rows."""
    count = table.count(rows)
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    result: Mask = np.full(count, bool(expressions or fields), dtype=np.bool_)
    for requirement in expressions:
        result &= _truth(table.label(requirement["key"]), requirement, rows)
    for requirement in fields:
        result &= _field_mask(table, requirement, rows)
    return result


def _truth(column: LabelColumn, requirement: Obj, rows: Any) -> Mask:
    """The requirement judged once for each value of the label, then gathered over rows."""
    table: Mask = np.empty(len(column.values) + 1, dtype=np.bool_)
    for value_id, value in enumerate(column.values):
        table[value_id] = label_holds(requirement, value)
    table[-1] = label_holds(requirement, None)
    return table[column.domains.values[rows]]


def _field_mask(table: NodeTable, requirement: Obj, rows: Any) -> Mask:
    positions = table.positions(rows)
    values, operator = requirement.get("values") or [], requirement["operator"]
    if len(values) != 1 or operator not in ("In", "NotIn") or requirement["key"] != NAME_FIELD:
        holds = field_holds(requirement, "")
        return np.full(len(positions), holds, dtype=np.bool_)
    same = np.equal(positions, table.rows.get(values[0], -1))
    return same if operator == "In" else ~same


def _present(value_id: int) -> int:
    """An id to compare with: -1 would match nodes that miss the label."""
    return value_id if value_id >= 0 else -2
