"""``/healthz``, ``/livez`` and ``/readyz``: named checks, each also under its own path.

A check is a function that returns an error text, or an empty string. ``?verbose`` lists them all,
``?exclude=NAME`` leaves some out, as upstream. The steps of a start are checks too, under the names
of upstream's post-start hooks that do the same.
"""

from collections.abc import Callable, Mapping

from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo
from kybern.component.http.messages import Request, Response

Check = Callable[[], str]
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}

CACHES = "generic-apiserver-start-informers"
FLOW_CONTROL = "priority-and-fairness-config-consumer"
FLOW_CONTROL_OBJECTS = "priority-and-fairness-config-producer"
CUSTOM_RESOURCES = "start-apiextensions-controllers"
CUSTOM_RESOURCES_LOADED = "crd-informer-synced"
NAMESPACES = "start-system-namespaces-controller"
AUTHENTICATION_INFO = "start-cluster-authentication-info-controller"
TOKEN_TRACKING = "start-legacy-token-tracking-controller"
REPAIR = "start-service-ip-repair-controllers"
ROLES = "rbac/bootstrap-roles"
PRIORITY_CLASSES = "scheduling/bootstrap-system-priority-classes"
SERVICE_CIDR = "start-kubernetes-service-cidr-controller"

_STEPS = (
    CACHES,
    FLOW_CONTROL,
    CUSTOM_RESOURCES,
    CUSTOM_RESOURCES_LOADED,
    NAMESPACES,
    AUTHENTICATION_INFO,
    TOKEN_TRACKING,
    REPAIR,
    ROLES,
    PRIORITY_CLASSES,
    FLOW_CONTROL_OBJECTS,
    SERVICE_CIDR,
)


class StartSteps:
    """Which steps of the start are done."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def done(self, *names: str) -> None:
        self._done.update(names)

    def checks(self) -> dict[str, Check]:
        """A check for each step, in order."""
        return {f"poststarthook/{name}": self._check(name) for name in _STEPS}

    def _check(self, name: str) -> Check:
        return lambda: "" if name in self._done else "not finished"


class HealthEndpoint:
    """One of the three, as an endpoint of the pipeline."""

    def __init__(self, name: str, checks: Mapping[str, Check]) -> None:
        self.name = name
        self._checks = dict(checks)

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the checks, each of which can be asked for alone."""
        return tuple(self._checks)

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        _, _, single = info.path.strip("/").partition("/")
        if single:
            return self._single(single)
        excluded = set(info.params.get("exclude", []))
        lines, failed = self._results(excluded)
        unknown = excluded - set(self._checks)
        if unknown:
            names = ", ".join(f'"{name}"' for name in sorted(unknown))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
        if failed:
            lines.append(f"{self.name} check failed")
            return _text(500, "\n".join(lines) + "\n", _NO_SNIFFING)
        if "verbose" not in info.params:
            return _text(200, "ok", _NO_SNIFFING)
        lines.append(f"{self.name} check passed")
        return _text(200, "\n".join(lines) + "\n", _NO_SNIFFING)

    def _results(self, excluded: set[str]) -> tuple[list[str], bool]:
        lines: list[str] = []
        failed = False
        for name, check in self._checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif check():
                # The reason may tell secrets; it goes to the log, not to whoever asks.
                lines.append(f"[-]{name} failed: reason withheld")
                failed = True
            else:
                lines.append(f"[+]{name} ok")
        return lines, failed

    def _single(self, name: str) -> Response:
        check = self._checks.get(name)
        if check is None:
            return _text(404, "404 page not found\n", _NO_SNIFFING)
        problem = check()
        if problem:
            return _text(500, f"internal server error: {problem}\n", _NO_SNIFFING)
        return _text(200, "ok", {})


def _text(status: int, body: str, headers: Mapping[str, str]) -> Response:
    return Response(status, {**_TEXT, **headers}, body.encode())
