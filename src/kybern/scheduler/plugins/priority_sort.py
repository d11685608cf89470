"""PrioritySort: which pending pod is tried first. Higher priority, then the longer wait."""

from typing import Any

from kybern.scheduler.plugin import Plugin

Obj = dict[str, Any]


class PrioritySort(Plugin):
    name = "PrioritySort"

    @staticmethod
    def sort_key(pod: Obj, queued_at: float) -> tuple[int, float]:
        """The smallest key comes first."""
        return (-(pod["spec"].get("priority") or 0), queued_at)
