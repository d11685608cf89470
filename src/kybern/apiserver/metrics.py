"""``/metrics``: what the server counts, under upstream's names, in Prometheus' text format.

The pipeline observes every request; the rest is read when somebody asks. Requests are counted by
what they are about, which is bounded by what the server serves.
"""

from collections.abc import Callable, Container, Iterable, Mapping

from kybern.api.user import UserInfo
from kybern.apiserver.admission import AdmissionChain
from kybern.apiserver.cache import ResourceCache
from kybern.apiserver.request_info import RequestInfo
from kybern.component.histogram import Histogram
from kybern.component.http.messages import Request, Response
from kybern.component.process_metrics import process_lines

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10)
_BUCKETS_LONG = (15, 20, 30, 45, 60)
BUCKETS = _BUCKETS + _BUCKETS_LONG
_SIZES = tuple(1000.0 * 10**exponent for exponent in range(7))
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

_READS = frozenset({"get", "list", "watch", "head", "options"})
# Users who are counted by name; all others are too many.
_NAMED_USERS = frozenset(
    {"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"}
)

# Verb, group, version, resource, subresource and scope.
_Series = tuple[str, str, str, str, str, str]


class Metrics:
    """The counters of one server. ``paths`` are those outside the resources that it answers;
    ``sources`` are functions whose lines are shown, too."""

    def __init__(self, paths: Container[str]) -> None:
        self._paths = paths
        self.sources: list[Callable[[], Iterable[str]]] = []
        self._requests: dict[tuple[_Series, int, str], int] = {}
        self._durations: dict[_Series, Histogram] = {}
        self._sizes: dict[_Series, Histogram] = {}
        self._in_flight = {"mutating": 0, "readOnly": 0}
        self._users: dict[str, int] = {}
        self._attempts = {"success": 0, "failure": 0}
        self._decisions = {"allowed": 0, "no-opinion": 0}

    def entered(self, info: RequestInfo) -> None:
        """A request is being answered."""
        self._in_flight["readOnly" if info.verb in _READS else "mutating"] += 1

    def left(self, info: RequestInfo) -> None:
        """A request is answered, or given up."""
        self._in_flight["readOnly" if info.verb in _READS else "mutating"] -= 1

    def authenticated(self, user: UserInfo | None) -> None:
        """Count an attempt; None if nobody was found."""
        self._attempts["failure" if user is None else "success"] += 1
        if user is not None:
            name = user.name
            if name not in _NAMED_USERS:
                name = "email_id" if "@" in name else "other"
            self._users[name] = self._users.get(name, 0) + 1

    def authorized(self, allowed: bool) -> None:
        """Count a decision."""
        self._decisions["allowed" if allowed else "no-opinion"] += 1

    def observe(self, info: RequestInfo, served: bool, response: Response, seconds: float) -> None:
        """Count one request that was answered."""
        series = self._series(info, served)
        dry_run = "All" if info.params and info.param("dryRun") == "All" else ""
        key = (series, response.status, dry_run)
        if key not in self._requests and len(self._requests) >= _MAX_SERIES:
            return
        self._requests[key] = self._requests.get(key, 0) + 1
        if info.verb in _LONG_RUNNING:
            return
        _observe(self._durations, series, BUCKETS, seconds)
        if series[0] in ("GET", "LIST") and isinstance(response.body, bytes):
            _observe(self._sizes, series, _SIZES, len(response.body))

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        """The endpoint."""
        media_type = "text/plain; version=0.0.4; charset=utf-8"
        return Response(200, {"Content-Type": media_type}, self.text().encode())

    def text(self) -> str:
        lines = [
            *_head("apiserver_request_total", "counter", "Requests by what they asked and got."),
            *(
                f"apiserver_request_total{{{_labels(series, code=str(code), dry_run=dry)}}} {count}"
                for (series, code, dry), count in self._requests.items()
            ),
            *_head("apiserver_request_duration_seconds", "histogram", "Time to the answer."),
            *_histograms("apiserver_request_duration_seconds", self._durations),
            *_head("apiserver_response_sizes", "histogram", "Bytes of the answers to reads."),
            *_histograms("apiserver_response_sizes", self._sizes),
            *_family(
                "apiserver_current_inflight_requests",
                "gauge",
                "Requests being answered.",
                "request_kind",
                self._in_flight,
            ),
            *_family(
                "authentication_attempts",
                "counter",
                "Requests by whether their user was found.",
                "result",
                self._attempts,
            ),
            *_family(
                "authenticated_user_requests",
                "counter",
                "Requests by user.",
                "username",
                self._users,
            ),
            *_family(
                "authorization_attempts_total",
                "counter",
                "Requests by whether they were allowed.",
                "result",
                self._decisions,
            ),
            *(line for source in self.sources for line in source()),
            *process_lines(),
        ]
        return "\n".join(lines) + "\n"

    def _series(self, info: RequestInfo, served: bool) -> _Series:
        if not info.is_resource_request or not served:
            path = info.path if info.path in self._paths else ""
            return (_VERBS.get(info.verb, info.verb.upper()), "", "", "", path, "")
        if info.name:
            scope = "resource"
        else:
            scope = "namespace" if info.namespace else "cluster"
        verb = _VERBS.get(info.verb, "CONNECT")
        return (verb, info.group, info.version, info.resource, info.subresource, scope)


def caches_exposition(caches: Callable[[], Iterable[ResourceCache]]) -> Callable[[], list[str]]:
    """A source of lines about what is cached: objects, open watches and the events they got."""

    def lines() -> list[str]:
        objects: dict[str, int] = {}
        by_group: list[str] = []
        watches: list[str] = []
        events: list[str] = []
        for cache in caches():
            kind = cache.kind
            name = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            objects[name] = len(cache)
            labels = f'group="{kind.group}",resource="{kind.plural}"'
            by_group.append(f"apiserver_resource_objects{{{labels}}} {len(cache)}")
            labels += f',version="{kind.storage_version}"'
            if cache.watches:
                watch = f'component="apiserver",{labels},scope="",subresource="",verb="WATCH"'
                watches.append(f"apiserver_longrunning_requests{{{watch}}} {cache.watches}")
            if cache.events_sent:
                events.append(f"apiserver_watch_events_total{{{labels}}} {cache.events_sent}")
        about = "Stored objects by resource."
        return [
            *_family("apiserver_storage_objects", "gauge", about, "resource", objects),
            *_head("apiserver_resource_objects", "gauge", about),
            *by_group,
            *_head("apiserver_longrunning_requests", "gauge", "Watches that are open."),
            *watches,
            *_head("apiserver_watch_events_total", "counter", "Events sent to watches."),
            *events,
        ]

    return lines


def admission_exposition(admission: AdmissionChain) -> Callable[[], list[str]]:
    """A source of lines about how long the steps of admission took."""
    name = "apiserver_admission_step_admission_duration_seconds"

    def lines() -> list[str]:
        found = _head(name, "histogram", "Time that a step of admission took.")
        for (operation, rejected, step), held in admission.timings.items():
            labels = f'operation="{operation}",rejected="{rejected}",type="{step}"'
            found += held.lines(name, labels)
        return found

    return lines


def _observe(
    into: dict[_Series, Histogram], series: _Series, bounds: tuple[float, ...], value: float
) -> None:
    held = into.get(series)
    if held is None:
        held = into[series] = Histogram(bounds)
    held.observe(value)


def _histograms(name: str, found: dict[_Series, Histogram]) -> list[str]:
    return [line for series, held in found.items() for line in held.lines(name, _labels(series))]


def _labels(series: _Series, **more: str) -> str:
    verb, group, version, plural, subresource, scope = series
    labels = {
        "component": "apiserver",
        "group": group,
        "resource": plural,
        "scope": scope,
        "subresource": subresource,
        "verb": verb,
        "version": version,
    }
    labels |= more
    return ",".join(f'{name}="{labels[name]}"' for name in sorted(labels))


def _family(
    name: str, kind: str, help_text: str, label: str, values: Mapping[str, int]
) -> list[str]:
    """A metric with one label."""
    lines = [f'{name}{{{label}="{value}"}} {values[value]}' for value in sorted(values)]
    return [*_head(name, kind, help_text), *lines]


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
