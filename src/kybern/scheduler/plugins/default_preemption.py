"""DefaultPreemption: a pod that fits nowhere may evict pods of lower priority.

Here are the plugin's arguments; ``preemption_search.py`` finds whom to evict and ``preemptor.py``
evicts them.
"""

from typing import Any

from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.plugin import Plugin

Obj = dict[str, Any]


class DefaultPreemption(Plugin):
    """Arguments: how many nodes to try at least, as a share and as a number."""

    name = "DefaultPreemption"

    def __init__(self, cluster: ClusterColumns, args: Obj) -> None:
        super().__init__(cluster, args)
        percentage = args.get("minCandidateNodesPercentage")
        absolute = args.get("minCandidateNodesAbsolute")
        self._percentage = 10 if percentage is None else percentage
        self._absolute = 100 if absolute is None else absolute

    def candidates_wanted(self, nodes: int) -> int:
        """After how many candidates the search may stop."""
        return min(max(nodes * self._percentage // 100, self._absolute), nodes)
