"""``/healthz``, ``/livez`` and ``/readyz``: named checks, each also under its own path.

A check is a function that returns an error text, or an empty string. ``?verbose`` lists them all,
``?exclude=NAME`` leaves some out, as upstream.
"""

from collections.abc import Callable, Mapping

from kybern.api.user import UserInfo
from kybern.apiserver.request_info import RequestInfo
from kybern.component.http.messages import Request, Response

Check = Callable[[], str]
_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}


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
            return _text(500, "\n".join(lines) + "\n")
        if "verbose" not in info.params:
            return _text(200, "ok")
        lines.append(f"{self.name} check passed")
        return _text(200, "\n".join(lines) + "\n")

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
            return _text(404, "404 page not found\n")
        problem = check()
        return _text(500, f"internal server error: {problem}\n") if problem else _text(200, "ok")


def _text(status: int, body: str) -> Response:
    return Response(status, dict(_TEXT), body.encode())
