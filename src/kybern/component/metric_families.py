"""Metrics by labels, in Prometheus' text format.

For components that count many things a second, where a client library's locks and look-ups would
cost more than what is counted. Who adds samples sees to it that label values are few.
"""

from collections.abc import Iterator

from kybern.component.histogram import Histogram

Labels = tuple[str, ...]


class Family:
    """A counter or gauge with a number for each combination of its labels' values."""

    def __init__(self, name: str, kind: str, text: str, *labels: str) -> None:
        self.name, self.kind, self.labels = name, kind, labels
        self._text = text
        self.values: dict[Labels, float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by

    def lines(self) -> Iterator[str]:
        """The family, if it has samples."""
        if self.values:
            yield from _head(self.name, self.kind, self._text)
        for values, number in self.values.items():
            braced = f"{{{_shown(self.labels, values)}}}" if values else ""
            yield f"{self.name}{braced} {number:.15g}"


class HistogramFamily:
    """A histogram for each combination of its labels' values."""

    kind = "histogram"

    def __init__(self, name: str, bounds: tuple[float, ...], text: str, *labels: str) -> None:
        self.name, self.labels = name, labels
        self._bounds, self._text = bounds, text
        self._histograms: dict[Labels, Histogram]
        # What has no labels is told of before anything is observed.
        self._histograms = {} if labels else {(): Histogram(bounds)}

    def observe(self, value: float, *labels: str) -> None:
        found = self._histograms.get(labels)
        if found is None:
            found = self._histograms[labels] = Histogram(self._bounds)
        found.observe(value)

    def lines(self) -> Iterator[str]:
        """The family, if anything was observed."""
        if self._histograms:
            yield from _head(self.name, self.kind, self._text)
        for values, histogram in self._histograms.items():
            yield from histogram.lines(self.name, _shown(self.labels, values))


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds of buckets, each a multiple of the one before."""
    bounds = [start]
    while len(bounds) < count:
        bounds.append(bounds[-1] * factor)
    return tuple(bounds)


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _shown(names: Labels, values: Labels) -> str:
    escaped = (v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for v in values)
    return ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True))
