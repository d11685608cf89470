"""Which plugin turned down which nodes, and what the nodes lack that came closest."""

from typing import Any

import numpy as np

from kybern.scheduler.columns.column import Rows
from kybern.scheduler.columns.node_table import NodeTable
from kybern.scheduler.diagnosis import FitError
from kybern.scheduler.explain.amounts import readable
from kybern.scheduler.plugins.node_resources_fit import FitFilter
from kybern.scheduler.pod_class import PodClass

Obj = dict[str, Any]

EXAMPLES = 10
CLOSEST = 3


def rejections(error: FitError, nodes: NodeTable) -> list[Obj]:
    """By plugin, in the order in which they judge."""
    if error.rejection:
        reason = {"reason": error.rejection, "nodes": error.node_count}
        return [
            {"plugin": error.rejected_by[0], "nodes": error.node_count, "reasons": [reason]},
        ]
    found: dict[str, Obj] = {}
    if error.absent:
        name = error.confined_by[0]
        reason = {"reason": "the pod may only run on other nodes", "nodes": error.absent}
        found[name] = {"plugin": name, "nodes": error.absent, "reasons": [reason]}
    for verdict in error.verdicts:
        entry = found.setdefault(
            verdict.plugin, {"plugin": verdict.plugin, "nodes": 0, "reasons": []}
        )
        entry["nodes"] += verdict.count
        for text in verdict.reasons:
            _count(entry["reasons"], text, verdict.rows, nodes)
    return list(found.values())


def _count(reasons: list[Obj], text: str, rows: Rows, nodes: NodeTable) -> None:
    known = next((one for one in reasons if one["reason"] == text), None)
    if known is None:
        known = {"reason": text, "nodes": 0, "examples": []}
        reasons.append(known)
    known["nodes"] += len(rows)
    room = EXAMPLES - len(known["examples"])
    known["examples"] += [nodes.names[row] for row in rows[:room].tolist()]


def closest(error: FitError, pod_class: PodClass, nodes: NodeTable) -> list[Obj]:
    """Plugins judge in order, so the nodes that the last one turned down came furthest; of these
    come first those that eviction could help and that lack the least."""
    if not error.verdicts:
        return []
    order = [name for name, _ in pod_class.filters]
    last = max((one.plugin for one in error.verdicts), key=order.index)
    fit = next((one for name, one in pod_class.filters if name == last), None)
    found: list[Obj] = []
    of_last = [one for one in error.verdicts if one.plugin == last]
    for verdict in sorted(of_last, key=lambda one: (one.unresolvable, len(one.reasons))):
        rows = verdict.rows
        if isinstance(fit, FitFilter):
            rows = rows[np.argsort(fit.share_lacking(rows), kind="stable")]
        for row in rows[: CLOSEST - len(found)].tolist():
            entry: Obj = {
                "node": nodes.names[row],
                "plugin": last,
                "reasons": list(verdict.reasons),
                "preemptionMayHelp": not verdict.unresolvable,
            }
            if isinstance(fit, FitFilter):
                entry["lacks"] = lacks(fit, row)
            found.append(entry)
    return found


def lacks(fit: FitFilter, row: int) -> list[Obj]:
    """What a node has too little of, if it lacks anything without the pods nominated to it."""
    asked = (("pods", 1), *fit.asked)
    return [
        {
            "resource": name,
            "requested": readable(name, amount),
            "free": readable(name, amount - lack),
            "lacking": readable(name, lack),
        }
        for (name, amount), lack in zip(asked, fit.lacks(row), strict=True)
        if lack > 0
    ]
