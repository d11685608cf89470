"""What the scheduler counts, under upstream's names, in Prometheus' text format.

Each scheduler has a registry of its own, so that several can live in one process. Labels are
profiles, results and parts of the queue, which are few.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

ATTEMPT_BUCKETS = tuple(0.001 * 2**step for step in range(15))
SLI_BUCKETS = tuple(0.01 * 2**step for step in range(20))
COUNT_BUCKETS = tuple(float(2**step) for step in range(7))
SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"


@dataclass(frozen=True)
class Sources:
    """What is counted only when somebody asks: pods in each queue, things in the cache, and pods
    that wait, by the plugin that turned them down and by profile."""

    pending: Callable[[], Mapping[str, int]]
    cached: Callable[[], Mapping[str, int]]
    unschedulable: Callable[[], Mapping[tuple[str, str], int]]


class Metrics:
    """The counters of one scheduler."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        outcome = ("result", "profile")
        self._attempts = Counter(
            "scheduler_schedule_attempts",
            "Attempts to schedule pods by result and profile.",
            outcome,
            registry=self._registry,
        )
        self._attempt_seconds = self._histogram(
            "scheduling_attempt_duration_seconds", ATTEMPT_BUCKETS, "Time of a decision.", outcome
        )
        self._sli_seconds = self._histogram(
            "pod_scheduling_sli_duration_seconds",
            SLI_BUCKETS,
            "Time from a pod's first entry into the queue until it was bound.",
            ("attempts",),
        )
        self._pod_attempts = self._histogram(
            "pod_scheduling_attempts", COUNT_BUCKETS, "Attempts that a bound pod took."
        )
        self._victims = self._histogram(
            "preemption_victims", COUNT_BUCKETS, "Victims of one preemption."
        )
        self._preemptions = Counter(
            "scheduler_preemption_attempts",
            "Preemptions that found room.",
            registry=self._registry,
        )
        self._pending_pods = self._gauge("pending_pods", "Pods that wait, by queue.", "queue")
        self._cache_size = self._gauge(
            "cache_size", "Nodes, pods and assumed pods that the scheduler knows.", "type"
        )
        self._unschedulable_pods = self._gauge(
            "unschedulable_pods", "Pods that a plugin turned down.", "plugin", "profile"
        )
        leader = Gauge(
            "leader_election_master_status",
            "1 while this replica leads: a scheduler that counts is one that does.",
            ("name",),
            registry=self._registry,
        )
        leader.labels("kube-scheduler").set(1)

    def attempted(self, profile: str, result: str, seconds: float) -> None:
        self._attempts.labels(result, profile).inc()
        self._attempt_seconds.labels(result, profile).observe(seconds)

    def bound(self, attempts: int, seconds: float) -> None:
        """A pod got its node after so many attempts and so long a time."""
        self._pod_attempts.observe(attempts)
        self._sli_seconds.labels(str(attempts) if attempts < 16 else "16+").observe(seconds)

    def preempted(self, victims: int) -> None:
        self._preemptions.inc()
        self._victims.observe(victims)

    def text(self) -> bytes:
        for queue, count in self._sources.pending().items():
            self._pending_pods.labels(queue).set(count)
        for kind, count in self._sources.cached().items():
            self._cache_size.labels(kind).set(count)
        self._unschedulable_pods.clear()
        for labels, count in self._sources.unschedulable().items():
            self._unschedulable_pods.labels(*labels).set(count)
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="scheduler", registry=self._registry)

    def _histogram(
        self, name: str, buckets: tuple[float, ...], text: str, labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(
            name, text, labels, namespace="scheduler", buckets=buckets, registry=self._registry
        )
