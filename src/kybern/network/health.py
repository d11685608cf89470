"""Health for load balancers: the node's proxy, and Services that keep clients' addresses.

An external load balancer asks every node, on the Service's ``healthCheckNodePort``, whether the
node has endpoints of its own; on the proxy's port, whether the node takes traffic at all. Small
HTTP answers, one connection each, with a limit of time and size.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import orjson

logger = logging.getLogger(__name__)

_REQUEST_SECONDS = 5
_MAX_HEADER_BYTES = 16 * 1024
_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


@dataclass(frozen=True)
class ServiceHealth:
    """How many ready endpoints of a Service this node has."""

    namespace: str
    name: str
    local_endpoints: int

    def answer(self) -> tuple[int, bytes]:
        """Status and body as kube-proxy gives them."""
        body = {
            "service": {"namespace": self.namespace, "name": self.name},
            "localEndpoints": self.local_endpoints,
            "serviceProxyHealthy": True,
        }
        return (200 if self.local_endpoints else 503), orjson.dumps(body)


Answer = Callable[[str], tuple[int, bytes]]


class HealthServers:
    """The listeners of one node, brought in line with the Services by ``update``."""

    def __init__(self) -> None:
        self._servers: dict[int, asyncio.Server] = {}
        self._services: dict[int, ServiceHealth] = {}

    async def serve_proxy(self, port: int, healthy: Callable[[], bool]) -> None:
        """Answer ``/healthz`` and ``/livez`` for the proxy itself."""

        def answer(path: str) -> tuple[int, bytes]:
            if path not in ("/healthz", "/livez"):
                return 404, b"404 page not found\n"
            return (200, b"ok") if healthy() else (503, b"the rules could not be applied")

        await self._listen(port, answer)

    async def update(self, services: Mapping[int, ServiceHealth]) -> None:
        """Listen on exactly these Services' health check ports, besides the proxy's own."""
        for port in [port for port in self._services if port not in services]:
            await self._close(port)
            del self._services[port]
        for port, health in services.items():
            known = port in self._services
            self._services[port] = health
            if not known:
                await self._listen(port, partial(self._service_answer, port))

    def _service_answer(self, port: int, path: str) -> tuple[int, bytes]:
        return self._services[port].answer()

    async def close(self) -> None:
        for port in list(self._servers):
            await self._close(port)

    async def _listen(self, port: int, answer: Answer) -> None:
        try:
            self._servers[port] = await asyncio.start_server(
                partial(_serve, answer), "0.0.0.0", port, limit=_MAX_HEADER_BYTES
            )
        except OSError as error:
            logger.warning("cannot answer health checks on port %d: %s", port, error)

    async def _close(self, port: int) -> None:
        server = self._servers.pop(port, None)
        if server is not None:
            server.close()
            await server.wait_closed()


async def _serve(
    answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            words = head.split(b"\r\n", 1)[0].split()
            path = words[1].decode("latin-1") if len(words) == 3 else ""
            status, body = answer(path.partition("?")[0])
            writer.write(
                f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            )
            writer.write(body)
            await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()
