"""The scheduler's small HTTP server for those who watch it: health and metrics.

Off unless ``--scheduler-metrics-bind-address`` is given, because it asks nobody who they are; bind
it to an address that only monitoring reaches.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import serve
from kybern.scheduler.metrics import Metrics

TEXT = {"Content-Type": "text/plain; charset=utf-8"}
METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
HEALTH = ("/healthz", "/livez", "/readyz")


class Observed:
    """What the server tells of; ``metrics`` is None while another replica leads."""

    def __init__(self) -> None:
        self.metrics: Metrics | None = None

    async def handle(self, request: Request) -> Response:
        if request.path in HEALTH:
            return Response(200, dict(TEXT), b"ok")
        if request.path == "/metrics":
            body = self.metrics.text() if self.metrics is not None else b""
            return Response(200, dict(METRICS), body)
        return Response(404, dict(TEXT), b"404 page not found\n")


@asynccontextmanager
async def observing(
    observed: Observed, address: str, clock: Clock, tell: Callable[[int], None] | None = None
) -> AsyncIterator[None]:
    """Serve on ``host:port`` for the time of the block; ``tell`` gets the port."""
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    server = await serve(observed.handle, host.strip("[]"), int(port), clock=clock)
    if tell is not None:
        tell(server.port)
    try:
        yield
    finally:
        await server.close()
