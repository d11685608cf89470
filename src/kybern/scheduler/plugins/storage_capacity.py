"""Where a CSI driver has room for a claim, as its CSIStorageCapacity objects say.

Only drivers that opt in through their CSIDriver are held to it; all others may provision anywhere.
"""

from typing import Any

import numpy as np

from kybern.api.quantity import Quantity
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Mask
from kybern.scheduler.node_selector import SelectorMask

Obj = dict[str, Any]


def rows_with_room(
    cluster: ClusterColumns, storage_class: Obj, size: int, rows: Any
) -> Mask | None:
    """Which rows reach enough storage for a volume of ``size`` bytes; None if it does not count."""
    driver = cluster.storage.csi_drivers.get(storage_class.get("provisioner") or "")
    if not size or driver is None or not (driver.get("spec") or {}).get("storageCapacity"):
        return None
    found: Mask = np.zeros(cluster.nodes.count(rows), dtype=np.bool_)
    for capacity in cluster.storage.capacities.values():
        if capacity.get("storageClassName") != storage_class["metadata"]["name"]:
            continue
        limit = volume_limit(capacity)
        topology = capacity.get("nodeTopology")
        if limit is not None and limit >= size and topology is not None:
            found |= _reach(cluster, topology).over(rows)
    return found


def volume_limit(capacity: Obj) -> int | None:
    """The largest volume, in bytes, that can be made from a pool now."""
    limit = capacity.get("maximumVolumeSize") or capacity.get("capacity")
    return None if limit is None else Quantity.parse(limit).value()


def _reach(cluster: ClusterColumns, topology: Obj) -> SelectorMask:
    """The nodes that a label selector selects."""
    expressions = topology.get("matchExpressions")
    terms = [{"matchExpressions": expressions}] if expressions else None
    return SelectorMask(cluster.nodes, topology.get("matchLabels") or {}, terms)
