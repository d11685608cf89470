"""``/metrics/resource`` in the Prometheus text format: what autoscalers and ``top`` live on."""

from collections.abc import Iterable, Iterator

from kybern.api.errors import Obj
from kybern.component.clock import parse_rfc3339
from kybern.kubelet.server.stats import Sample

# A metric's name, type and help, and its samples: labels, value, milliseconds since the epoch.
_Sample = tuple[str, float, int]


def resource_metrics(taken: Sample) -> str:
    """The node's, the pods' and the containers' CPU and memory."""
    now = round(taken.time * 1000)
    memory = taken.node["memory.available"]
    lines = [
        *_metric(
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
            [("", taken.node_cpu / 1e9, now)],
        ),
        *_metric(
            "node_memory_working_set_bytes",
            "gauge",
            "Current working set of the node in bytes",
            [("", memory.capacity - memory.available, now)],
        ),
        *_container_metrics(taken),
        *_metric(
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the pod in core-seconds",
            [
                (_labels(taken.pods[uid]), usage.cpu / 1e9, now)
                for uid, usage in taken.usage.items()
            ],
        ),
        *_metric(
            "pod_memory_working_set_bytes",
            "gauge",
            "Current working set of the pod in bytes",
            [
                (_labels(taken.pods[uid]), usage.working_set, now)
                for uid, usage in taken.usage.items()
            ],
        ),
        *_metric(
            "resource_scrape_error",
            "gauge",
            "1 if there was an error while getting container metrics, 0 otherwise",
            [("", 0, 0)],
        ),
    ]
    return "\n".join(lines) + "\n"


def _container_metrics(taken: Sample) -> Iterator[str]:
    cpu: list[_Sample] = []
    memory: list[_Sample] = []
    began: list[_Sample] = []
    for each in taken.containers:
        marks = _labels(each.pod, each.name)
        counted = each.counted
        stamp = counted.cpu.timestamp // 1_000_000
        cpu.append((marks, counted.cpu.usage_core_nano_seconds.value / 1e9, stamp))
        stamp = counted.memory.timestamp // 1_000_000
        memory.append((marks, counted.memory.working_set_bytes.value, stamp))
        if each.started_at:
            began.append((marks, parse_rfc3339(each.started_at), 0))
    yield from _metric(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        cpu,
    )
    yield from _metric(
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        memory,
    )
    yield from _metric(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds",
        began,
    )


def _labels(pod: Obj, container: str = "") -> str:
    meta = pod["metadata"]
    named = f'container="{container}",' if container else ""
    return f'{{{named}namespace="{meta["namespace"]}",pod="{meta["name"]}"}}'


def _metric(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} [STABLE] {text}"
    yield f"# TYPE {name} {kind}"
    for marks, value, stamp in samples:
        shown = f"{value:.9f}".rstrip("0").rstrip(".")
        yield f"{name}{marks} {shown} {stamp}" if stamp else f"{name}{marks} {shown}"
