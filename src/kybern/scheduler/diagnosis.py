"""Why a pod found no node, in upstream's words.

``FitError`` carries the verdicts of one attempt: for the event and the PodScheduled condition
(``message``), for the queue (``plugins`` that rejected it) and for preemption (``verdicts``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kybern.scheduler.plugin import Verdict


def histogram(node_count: int, counts: dict[str, int]) -> str:
    """``0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.``"""
    text = f"0/{node_count} nodes are available:"
    lines = sorted(f"{count} {reason}" for reason, count in counts.items())
    return f"{text} {', '.join(lines)}." if lines else text


@dataclass(slots=True)
class FitError:
    """One attempt that found no node."""

    node_count: int
    verdicts: Sequence[Verdict] = ()
    rejection: str = ""
    confined_by: tuple[str, ...] = ()
    rejected_by: tuple[str, ...] = ()
    absent: int = 0
    post_filter: str = field(default="")

    @property
    def plugins(self) -> tuple[str, ...]:
        """The plugins that rejected the pod; events that help them bring it back."""
        names = dict.fromkeys(self.confined_by + self.rejected_by)
        names.update(dict.fromkeys(verdict.plugin for verdict in self.verdicts))
        return tuple(names)

    @property
    def message(self) -> str:
        """The text of the FailedScheduling event and of the condition."""
        if self.node_count == 0:
            return "no nodes available to schedule pods"
        if self.rejection:
            text = f"0/{self.node_count} nodes are available: {self.rejection}."
        else:
            text = histogram(self.node_count, self._counts())
        return f"{text} {self.post_filter}" if self.post_filter else text

    def _counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for verdict in self.verdicts:
            for reason in verdict.reasons:
                counts[reason] = counts.get(reason, 0) + verdict.count
        if self.absent:
            names = " ".join(sorted(self.confined_by))
            counts[f"node(s) didn't satisfy plugin(s) [{names}]"] = self.absent
        return counts
