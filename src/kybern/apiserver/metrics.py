"""``/metrics``: what the server counts, under upstream's names, in Prometheus' text format.

The pipeline observes every request; the rest is read when somebody asks. Requests are counted by
what they are about, which is bounded by what the server serves.
"""

import resource
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.version import version_info
from kybern.component.http.messages import Request, Response

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10)
_BUCKETS_LONG = (15, 20, 30, 45, 60)
BUCKETS = _BUCKETS + _BUCKETS_LONG
# A guard against labels that clients could choose freely.
_MAX_SERIES = 20_000
_LONG_RUNNING = frozenset({"watch", "connect", "proxy"})
_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}

# Verb, group, version, resource, subresource and scope.
_Series = tuple[str, str, str, str, str, str]


class Metrics:
    """The counters of one server. ``objects`` counts stored objects by resource when asked;
    ``sources`` are functions whose lines are shown, too."""

    def __init__(self, objects: Callable[[], Mapping[str, int]]) -> None:
        self._objects = objects
        self.sources: list[Callable[[], Iterable[str]]] = []
        self._requests: dict[tuple[_Series, int], int] = {}
        self._durations: dict[_Series, list[float]] = {}
        self.in_flight = 0

    def observe(self, info: RequestInfo, served: bool, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        series = _series(info, served)
        key = (series, status)
        if key not in self._requests and len(self._requests) >= _MAX_SERIES:
            return
        self._requests[key] = self._requests.get(key, 0) + 1
        if info.verb in _LONG_RUNNING:
            return
        counts = self._durations.get(series)
        if counts is None:
            counts = self._durations[series] = [0.0] * (len(BUCKETS) + 2)
        counts[bisect_left(BUCKETS, seconds)] += 1
        counts[-1] += seconds

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """The endpoint."""
        media_type = "text/plain; version=0.0.4; charset=utf-8"
        return Response(200, {"Content-Type": media_type}, self.text().encode())

    def text(self) -> str:
        lines = [
            *_head("apiserver_request_total", "counter", "Requests by what they asked and got."),
            *(
                f"apiserver_request_total{{{_labels(series, str(code))}}} {count}"
                for (series, code), count in self._requests.items()
            ),
            *_head("apiserver_request_duration_seconds", "histogram", "Time to the answer."),
            *self._histograms(),
            *_head("apiserver_current_inflight_requests", "gauge", "Requests being answered."),
            f"apiserver_current_inflight_requests {self.in_flight}",
            *_head("apiserver_storage_objects", "gauge", "Stored objects by resource."),
            *(
                f'apiserver_storage_objects{{resource="{name}"}} {count}'
                for name, count in sorted(self._objects().items())
            ),
            *(line for source in self.sources for line in source()),
            *_build(),
            *_process(),
        ]
        return "\n".join(lines) + "\n"

    def _histograms(self) -> list[str]:
        name = "apiserver_request_duration_seconds"
        lines: list[str] = []
        for series, counts in self._durations.items():
            labels = _labels(series)
            total = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts[:-1], strict=True):
                total += int(count)
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{{labels}}} {counts[-1]:.9f}")
            lines.append(f"{name}_count{{{labels}}} {total}")
        return lines


def _series(info: RequestInfo, served: bool) -> _Series:
    if not info.is_resource_request or not served:
        return (_VERBS.get(info.verb, info.verb.upper()), "", "", "", "", "")
    if info.name:
        scope = "resource"
    else:
        scope = "namespace" if info.namespace else "cluster"
    verb = _VERBS.get(info.verb, "CONNECT")
    return (verb, info.group, info.version, info.resource, info.subresource, scope)


def _labels(series: _Series, code: str = "") -> str:
    verb, group, version, plural, subresource, scope = series
    labels = {
        "code": code,
        "component": "apiserver",
        "group": group,
        "resource": plural,
        "scope": scope,
        "subresource": subresource,
        "verb": verb,
        "version": version,
    }
    if not code:
        del labels["code"]
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _build() -> list[str]:
    version = version_info()
    fields = {
        "build_date": "buildDate",
        "compiler": "compiler",
        "git_version": "gitVersion",
        "go_version": "goVersion",
        "major": "major",
        "minor": "minor",
        "platform": "platform",
    }
    labels = ",".join(f'{name}="{version[field]}"' for name, field in fields.items())
    return [
        *_head("kubernetes_build_info", "gauge", "What this server is."),
        f"kubernetes_build_info{{{labels}}} 1",
    ]


def _process() -> list[str]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return [
        *_head("process_cpu_seconds_total", "counter", "CPU time of the process."),
        f"process_cpu_seconds_total {used.ru_utime + used.ru_stime:.2f}",
        *_head("process_max_resident_memory_bytes", "gauge", "Largest memory of the process."),
        f"process_max_resident_memory_bytes {used.ru_maxrss * 1024}",
    ]
