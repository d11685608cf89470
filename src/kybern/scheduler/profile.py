"""A profile: the plugins that judge the pods of one scheduler name."""

from collections.abc import Iterable, Mapping
from typing import Any

from kybern.api.selectors import LabelSelector
from kybern.scheduler.columns.cluster import ClusterColumns
from kybern.scheduler.configuration import ConfigurationError, ProfileSettings
from kybern.scheduler.events import Registration
from kybern.scheduler.plugin import Plugin
from kybern.scheduler.plugins.pod_topology_spread import PodTopologySpread
from kybern.scheduler.plugins.registry import find_plugin

Obj = dict[str, Any]


class Judged:
    """How many pods, and nodes for them, were judged by one set of plugins."""

    __slots__ = ("nodes", "pods")

    def __init__(self) -> None:
        self.pods = 0
        self.nodes = 0


class Profile:
    """Plugin instances, and in order those that confine, that filter, and that score by weight."""

    def __init__(self, settings: ProfileSettings, cluster: ClusterColumns) -> None:
        self.name = settings.scheduler_name
        self.percentage = settings.percentage
        self.confining: list[Plugin] = []
        self.filtering: list[Plugin] = []
        self.scoring: list[tuple[Plugin, int]] = []
        self.by_name: dict[str, Plugin] = {}
        for enabled in settings.plugins:
            kind = find_plugin(enabled.name)
            if kind is None:
                raise ConfigurationError(f"plugins: no such plugin: {enabled.name}")
            plugin = kind(cluster, settings.args.get(enabled.name) or {})
            self.by_name[enabled.name] = plugin
            if enabled.filters and kind.confine is not Plugin.confine:
                self.confining.append(plugin)
            if enabled.filters and kind.filter is not Plugin.filter:
                self.filtering.append(plugin)
            if enabled.scores and enabled.weight and kind.score is not Plugin.score:
                self.scoring.append((plugin, enabled.weight))

        self._judged: dict[tuple[tuple[str, ...], tuple[str, ...]], Judged] = {}
        self._versioned = [
            plugin for plugin in self.by_name.values() if type(plugin).version is not Plugin.version
        ]
        spread = self.by_name.get(PodTopologySpread.name)
        self._spread = spread if isinstance(spread, PodTopologySpread) else None

    def version(self) -> int:
        """Changes when classes made earlier are out of date."""
        return sum(plugin.version() for plugin in self._versioned)

    def judged_by(self, filters: Iterable[str], scores: Iterable[str]) -> Judged:
        """The count that classes share for which these plugins have filters and scores."""
        return self._judged.setdefault((tuple(filters), tuple(scores)), Judged())

    def evaluations(self) -> dict[tuple[str, ...], int]:
        """How often plugins were asked about pods and nodes, by plugin, extension point and
        scheduler name."""
        counts: dict[tuple[str, ...], int] = {}
        for (filters, scores), judged in self._judged.items():
            asked = (
                ("PreFilter", [plugin.name for plugin in self.filtering], judged.pods),
                ("Filter", filters, judged.nodes),
                ("PreScore", [plugin.name for plugin, _ in self.scoring], judged.pods),
                ("Score", scores, judged.nodes),
            )
            for point, plugins, count in asked:
                for plugin in plugins:
                    key = (plugin, point, self.name)
                    counts[key] = counts.get(key, 0) + count
        return counts

    def default_selector(self, pod: Obj) -> LabelSelector | None:
        """The selector of the workloads around the pod, where a plugin spreads by it."""
        return self._spread.default_selector(pod) if self._spread is not None else None

    def registrations(self) -> Mapping[str, tuple[Registration, ...]]:
        """Queueing hints by plugin."""
        return {name: tuple(p.registrations()) for name, p in self.by_name.items()}

    def gate(self, pod: Obj) -> tuple[str, str] | None:
        """The plugin that holds the pod before the queue, and why."""
        for name, plugin in self.by_name.items():
            if (reason := plugin.gate(pod)) is not None:
                return name, reason
        return None
