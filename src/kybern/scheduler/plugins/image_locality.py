"""ImageLocality: prefer nodes that have the pod's images already.

An image counts with its size times the share of nodes that have it, so that a rare image does not
draw every pod to the one node that pulled it. 23 MB score nothing, 1000 MB a container 100.
"""

from typing import Any

import numpy as np

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.columns.column import Values
from kybern.scheduler.columns.images import normalised
from kybern.scheduler.plugin import MAX_SCORE, Plugin, Score
from kybern.scheduler.pod_shape import PodShape

MEBI = 1024 * 1024
LEAST = 23 * MEBI
MOST_A_CONTAINER = 1000 * MEBI


class ImageLocality(Plugin):
    name = "ImageLocality"

    def version(self) -> int:
        nodes = self.cluster.nodes
        return nodes.images.version + (nodes.node_count if nodes.images else 0)

    def score(self, shape: PodShape) -> Score | None:
        images = self.cluster.nodes.images
        wanted = [name for name in map(normalised, shape.images) if name in images]
        return ImageScore(self.cluster, wanted, shape.container_count) if wanted else None


class ImageScore(Score):
    """The scores of all rows, computed once: what they rest on makes classes anew."""

    def __init__(self, cluster: ClusterColumns, wanted: list[str], containers: int) -> None:
        self.key = (tuple(wanted), containers)
        nodes = cluster.nodes
        total: Values = np.zeros(nodes.capacity, dtype=np.int64)
        for name in wanted:
            rows = [row for row in nodes.images.rows(name) if nodes.alive.cells[row]]
            share = len(rows) / max(nodes.node_count, 1)
            total[rows] += int(nodes.images.size(name) * share)
        most = MOST_A_CONTAINER * containers
        self._scores = MAX_SCORE * (np.clip(total, LEAST, most) - LEAST) // (most - LEAST)

    def raw(self, rows: Any) -> Values:
        return self._scores[rows]
