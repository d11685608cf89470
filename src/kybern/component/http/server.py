"""The HTTP edge: accepts connections and calls one handler for every request.

The API server, the kubelet and the health endpoints of every component serve through it. Each
connection is an :class:`~kybern.component.http.protocol.HttpConnection`; here are the listening
socket, the sweep that gives slow clients up, and the graceful end.
"""

import asyncio
import time

from kybern.component.clock import Clock
from kybern.component.http.messages import Handler
from kybern.component.http.parser import Limits
from kybern.component.http.protocol import HttpConnection
from kybern.component.tls import ServerTls, TlsConfig

SWEEP_SECONDS = 1.0
HANDSHAKE_SECONDS = 15.0
BACKLOG = 1024


class Server:
    """A listening HTTP or HTTPS server; made by :func:`serve`."""

    def __init__(self, handler: Handler, limits: Limits, clock: Clock) -> None:
        self.handler = handler
        self.limits = limits
        self.draining = False
        self._clock = clock
        self._connections: dict[HttpConnection, None] = {}
        self._listener: asyncio.AbstractServer | None = None
        self._serving: dict[asyncio.Task[None], None] = {}
        self._background: list[asyncio.Task[None]] = []
        self._gone: asyncio.Event = asyncio.Event()
        self._date_second = 0
        self._date = ""
        self.port = 0

    async def listen(self, host: str, port: int, tls: TlsConfig | None) -> None:
        """Start to accept; port 0 takes a free one, which ``port`` then tells."""
        loop = asyncio.get_running_loop()
        secure = ServerTls(tls) if tls is not None else None
        timeout = HANDSHAKE_SECONDS if secure is not None else None
        self._listener = await loop.create_server(
            lambda: HttpConnection(self),
            host,
            port,
            backlog=BACKLOG,
            reuse_address=True,
            ssl=secure.context if secure is not None else None,
            ssl_handshake_timeout=timeout,
            ssl_shutdown_timeout=timeout,
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        self._background.append(loop.create_task(self._sweep(), name="http-sweep"))
        if secure is not None:
            self._background.append(loop.create_task(secure.follow_files(), name="tls-reload"))

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting, let requests under way finish for ``grace_seconds``, then cut."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            if connection.finished_unless_streaming:
                connection.close()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._no_connections()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
            await self._no_connections()
        tasks = [*self._serving, *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._background.clear()

    # What connections call

    def opened(self, connection: HttpConnection) -> None:
        if self.draining or len(self._connections) >= self.limits.max_connections:
            connection.abort()
            return
        self._connections[connection] = None

    def lost(self, connection: HttpConnection) -> None:
        self._connections.pop(connection, None)
        if not self._connections:
            self._gone.set()

    def started(self, task: asyncio.Task[None]) -> None:
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    def date(self) -> str:
        """The Date header, made once a second."""
        now = int(self._clock.time())
        if now != self._date_second:
            self._date_second = now
            self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
        return self._date

    async def _no_connections(self) -> None:
        while self._connections:
            self._gone.clear()
            await self._gone.wait()

    async def _sweep(self) -> None:
        """Cut the connections whose client has let its deadline pass."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            for connection in [c for c in self._connections if c.deadline <= now]:
                connection.abort()


async def serve(
    handler: Handler,
    host: str,
    port: int,
    tls: TlsConfig | None = None,
    *,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> Server:
    """Listen on ``host:port`` and answer with ``handler``; HTTPS if ``tls`` is given."""
    server = Server(handler, limits or Limits(), clock or Clock())
    await server.listen(host, port, tls)
    return server
