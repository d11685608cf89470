"""A histogram as Prometheus has it; what observes many things a second counts in these."""

from bisect import bisect_left


class Histogram:
    """Counts by bucket, the last for what is above all bounds, and the sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str, labels: str) -> list[str]:
        """The metric in the text format."""
        found: list[str] = []
        total = 0
        others = f"{labels}," if labels else ""
        for bound, count in zip((*map(_shown, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{{others}le="{bound}"}} {total}')
        braced = f"{{{labels}}}" if labels else ""
        found.append(f"{name}_sum{braced} {self.sum:.9g}")
        found.append(f"{name}_count{braced} {total}")
        return found


def _shown(bound: float) -> str:
    """As Go writes numbers: the shortest text, whole ones without a point."""
    return repr(float(bound)).removesuffix(".0")
