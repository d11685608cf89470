"""What the scheduler counts, under upstream's names, in Prometheus' text format.

Each scheduler has counters of its own, so that several can live in one process. Labels are
profiles, plugins, events and results, which are few. What columns do for many pods at once is
counted as if each pod's plugins had looked at each node (``plugin_evaluation_total``) and timed by
sample (``plugin_times.py``); families that count what does not exist here are not there: waiting on
permit, batches, groups of pods.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from kybern.component.feature_gates import FeatureGates
from kybern.component.metric_families import Family, HistogramFamily, Labels, exponential
from kybern.component.process_metrics import process_lines
from kybern.scheduler.events import ClusterEvent, Hint

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
SUCCESS, FAILURE = "success", "error"

ATTEMPT_BUCKETS = exponential(0.001, 2, 15)
POINT_BUCKETS = exponential(0.0001, 2, 12)
PLUGIN_BUCKETS = exponential(0.00001, 1.5, 20)
SLI_BUCKETS = exponential(0.01, 2, 20)

_OUTCOME = ("result", "profile")

# What is counted only when somebody asks: the numbers of a family by the values of its labels.
Source = Callable[[], Mapping[Labels, int]]

_READ: dict[str, tuple[str, str, Labels]] = {
    "pending_pods": ("gauge", "Pods that wait, by queue.", ("queue",)),
    "cache_size": ("gauge", "Nodes, pods and assumed pods that are known.", ("type",)),
    "inflight_events": ("gauge", "Events kept for pods in flight.", ("event",)),
    "goroutines": ("gauge", "Work under way.", ("operation",)),
    "unschedulable_pods": (
        "gauge",
        "Waiting pods that a plugin turned down.",
        ("plugin", "profile"),
    ),
    "queue_incoming_pods_total": (
        "counter",
        "Pods that came into a queue, by event.",
        ("queue", "event"),
    ),
    "plugin_evaluation_total": (
        "counter",
        "Verdicts and scores of plugins that were used.",
        ("plugin", "extension_point", "profile"),
    ),
}


class Metrics:
    """The counters of one scheduler; ``sources`` by the names in ``_READ``."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._attempt_seconds = _histogram(
            "scheduling_attempt_duration_seconds", ATTEMPT_BUCKETS, "Time of a decision.", *_OUTCOME
        )
        self._algorithm_seconds = _histogram(
            "scheduling_algorithm_duration_seconds",
            ATTEMPT_BUCKETS,
            "Time of a decision that found a node.",
        )
        self._attempts = Family(
            "scheduler_schedule_attempts_total",
            "counter",
            "Attempts to schedule pods by result and profile.",
            *_OUTCOME,
        )
        self._sli_seconds = _histogram(
            "pod_scheduling_sli_duration_seconds",
            SLI_BUCKETS,
            "Time from a pod's first entry into the queue until it was bound.",
            "attempts",
        )
        self._pod_attempts = _histogram(
            "pod_scheduling_attempts", exponential(1, 2, 5), "Attempts that a bound pod took."
        )
        self._after_flush = _counter(
            "pod_scheduled_after_flush_total",
            "Bound pods that had waited for an event until their time was over.",
        )
        self._preemptions = _counter(
            "preemption_attempts_total", "Pods for which victims were looked for."
        )
        self._victims = _histogram(
            "preemption_victims", exponential(1, 2, 7), "Victims of one preemption."
        )
        self._evictions = _counter(
            "preemption_goroutines_execution_total", "Preemptions carried out by result.", "result"
        )
        self._eviction_seconds = _histogram(
            "preemption_goroutines_duration_seconds",
            SLI_BUCKETS,
            "Time to carry out a preemption.",
            "result",
        )
        self._point_seconds = _histogram(
            "framework_extension_point_duration_seconds",
            POINT_BUCKETS,
            "Time of all plugins of an extension point.",
            *("extension_point", "status", "profile"),
        )
        self._plugin_seconds = _histogram(
            "plugin_execution_duration_seconds",
            PLUGIN_BUCKETS,
            "Time of one plugin at an extension point, for all nodes together.",
            *("plugin", "extension_point", "status"),
        )
        self._claims_made = _counter(
            "resourceclaim_creates_total", "Claims made for extended resources.", "status"
        )
        self._volumes_failed = Family(
            "scheduler_volume_scheduling_stage_error_total",
            "counter",
            "Volumes that could not be bound for a pod.",
            "operation",
        )
        self._event_seconds = _histogram(
            "event_handling_duration_seconds", POINT_BUCKETS, "Time to handle an event.", "event"
        )
        self._hint_seconds = _histogram(
            "queueing_hint_execution_duration_seconds",
            PLUGIN_BUCKETS,
            "Time of a queueing hint.",
            *("plugin", "event", "hint"),
        )

    def attempted(self, profile: str, result: str, seconds: float) -> None:
        self._attempts.add(result, profile)
        self._attempt_seconds.observe(seconds, result, profile)
        if result == SCHEDULED:
            self._algorithm_seconds.observe(seconds)

    def bound(self, attempts: int, seconds: float, after_flush: bool) -> None:
        """A pod got its node after so many attempts and so long a time."""
        self._pod_attempts.observe(attempts)
        self._sli_seconds.observe(seconds, str(attempts) if attempts < 16 else "16+")
        if after_flush:
            self._after_flush.add()

    def searched_victims(self) -> None:
        self._preemptions.add()

    def preempted(self, victims: int) -> None:
        self._victims.observe(victims)

    def evicted(self, result: str, seconds: float) -> None:
        """The calls of one preemption are done."""
        self._evictions.add(result)
        self._eviction_seconds.observe(seconds, result)

    def ran(self, point: str, status: str, profile: str, seconds: float) -> None:
        """All plugins of an extension point ran for a pod."""
        self._point_seconds.observe(seconds, point, status, profile)

    def ran_plugin(self, plugin: str, point: str, status: str, seconds: float) -> None:
        self._plugin_seconds.observe(seconds, plugin, point, status)

    def made_claim(self, succeeded: bool) -> None:
        """A claim for extended resources was to be made."""
        self._claims_made.add("success" if succeeded else "failure")

    def volumes_failed(self) -> None:
        """The volumes of a pod that has a node could not be bound."""
        self._volumes_failed.add("bind")

    def handled(self, event: str, seconds: float) -> None:
        self._event_seconds.observe(seconds, event)

    def hinted(self, plugin: str, event: ClusterEvent, hint: Hint, seconds: float) -> None:
        self._hint_seconds.observe(seconds, plugin, event.label, hint.value)

    def text(self) -> bytes:
        lines = [line for family in self._families() for line in family.lines()]
        lines += FeatureGates((), ()).exposition()
        lines += process_lines()
        return "\n".join((*lines, "")).encode()

    def _families(self) -> Iterable[Family | HistogramFamily]:
        return (
            *(held for held in vars(self).values() if isinstance(held, Family | HistogramFamily)),
            *self._read(),
        )

    def _read(self) -> Iterator[Family]:
        """The families whose numbers are read elsewhere."""
        for name, source in self._sources.items():
            kind, text, labels = _READ[name]
            family = Family(f"scheduler_{name}", kind, text, *labels)
            family.values.update(source())
            yield family
        # A scheduler that counts is one that leads.
        leader = Family("leader_election_master_status", "gauge", "1 while this leads.", "name")
        leader.add("kube-scheduler")
        yield leader


def _counter(name: str, text: str, *labels: str) -> Family:
    family = Family(f"scheduler_{name}", "counter", text, *labels)
    if not labels:
        family.values[()] = 0
    return family


def _histogram(name: str, bounds: tuple[float, ...], text: str, *labels: str) -> HistogramFamily:
    return HistogramFamily(f"scheduler_{name}", bounds, text, *labels)
