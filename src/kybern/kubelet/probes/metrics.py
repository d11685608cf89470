"""What ``/metrics/probes`` counts: every probe's outcomes and how long they took."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from kybern.api.errors import Obj

PROBES = CollectorRegistry()
_WHOSE = ("container", "namespace", "pod", "probe_type")
_TOTAL = Counter(
    "prober_probe_total",
    "Cumulative number of a liveness, readiness or startup probe for a container by result.",
    (*_WHOSE, "pod_uid", "result"),
    registry=PROBES,
)
_DURATION = Histogram(
    "prober_probe_duration_seconds",
    "Duration in seconds for a probe response.",
    _WHOSE,
    registry=PROBES,
)
_RESULTS = {True: "successful", False: "failed", None: "unknown"}


def count(pod: Obj, container: str, kind: str, passed: bool | None, seconds: float) -> None:
    """One probe was made."""
    meta, shown = pod["metadata"], kind.capitalize()
    whose = (container, meta["namespace"], meta["name"], shown)
    _TOTAL.labels(*whose, meta["uid"], _RESULTS[passed]).inc()
    if passed is not None:
        _DURATION.labels(*whose).observe(seconds)


def forget(pod: Obj, container: str, kind: str) -> None:
    """The container is no longer probed; its series would otherwise stay for ever."""
    meta, shown = pod["metadata"], kind.capitalize()
    whose = (container, meta["namespace"], meta["name"], shown)
    for result in _RESULTS.values():
        _remove(_TOTAL, *whose, meta["uid"], result)
    _remove(_DURATION, *whose)


def _remove(metric: Counter | Histogram, *labels: str) -> None:
    try:
        metric.remove(*labels)
    except KeyError:
        return
