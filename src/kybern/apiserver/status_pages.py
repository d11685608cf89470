"""``/statusz`` and ``/flagz``: what this process is and how it was started, for people to read.

Upstream promises nothing about their form, and so do we not; flags that hold secrets would have no
place here, but there are none.
"""

from dataclasses import fields

from kybern.api.errors import StatusError
from kybern.api.user import UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.negotiation import parse_accept
from kybern.apiserver.request_info import RequestInfo
from kybern.apiserver.version import version_info
from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response

_TEXT = "text/plain"
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
    "guarantees and is for debugging purposes only."
)
_PATHS = "/flagz /healthz /livez /metrics /readyz /statusz /version"


class StatusPage:
    """``/statusz``: how long the process has run, and as what."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.now()
        self._start = clock.monotonic()

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        minutes, seconds = divmod(int(self._clock.monotonic() - self._start), 60)
        hours, minutes = divmod(minutes, 60)
        version = version_info()
        release = version["gitVersion"].removeprefix("v").partition("+")[0]
        lines = [
            f"Started: {self._started.strftime('%a %b %d %H:%M:%S UTC %Y')}",
            f"Up: {hours} hr {minutes:02} min {seconds:02} sec",
            f"Go version: {version['goVersion']}",
            f"Binary version: {release}",
            f"Emulation version: {version['major']}.{version['minor']}",
            f"Paths: {_PATHS}",
        ]
        return _page(request, "statusz", ["", *lines])


class FlagsPage:
    """``/flagz``: every flag and its value."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def __call__(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        flags = {
            field.metadata["flag"] or field.name.replace("_", "-"): getattr(
                self._config, field.name
            )
            for field in fields(self._config)
            if "flag" in field.metadata
        }
        return _page(request, "flagz", [f"{name}={_shown(flags[name])}" for name in sorted(flags)])


def _page(request: Request, name: str, lines: list[str]) -> Response:
    accepted = parse_accept(request.headers.get("accept", "") or "*/*")
    if not any(clause.matches(_TEXT) for clause in accepted):
        text = f"only the following media types are accepted: {_TEXT}"
        raise StatusError(406, "NotAcceptable", text, {})
    text = "\n".join(["", f"apiserver {name}", _WARNING, *lines, ""])
    return Response(200, {"Content-Type": f"{_TEXT}; charset=utf-8"}, text.encode())


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
