"""The transport over HTTPS: pooled connections, credentials, WebSockets.

A :class:`~kybern.client.client.Client` that was made from a kubeconfig stands on it. Requests go
over ``connection.py``; bodies are not compressed, because CPU is dearer here than the network. An
idle connection is closed after ``IDLE_SECONDS``. One that the server had closed meanwhile is found
out by the next request, which is sent again where sending it twice does no harm.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from weakref import WeakSet

from kybern.api.errors import StatusError
from kybern.client.connection import Answer, Connection, NoAnswer
from kybern.client.transport import ApiUnreachable, Reply
from kybern.component.kubeconfig import Access

if TYPE_CHECKING:
    import aiohttp

REQUESTS_AT_ONCE = 256
CONNECT_SECONDS = 10
HANDSHAKE_SECONDS = 10
IDLE_SECONDS = 15
# Sent twice, these leave what they leave when sent once.
REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))


@dataclass
class HttpsTransport:
    """Pooled HTTP(S) connections to a server, with the credentials of ``access``.

    A token file is read again for every request, because bound tokens are rotated on disk.
    """

    access: Access
    _tls: ssl.SSLContext | None = field(default=None, init=False)
    _open: "WeakSet[Connection]" = field(default_factory=WeakSet, init=False)
    _idle: dict[Connection, float] = field(default_factory=dict, init=False)
    _sweep: asyncio.TimerHandle | None = field(default=None, init=False)
    _room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(REQUESTS_AT_ONCE), init=False
    )
    _sockets: "aiohttp.ClientSession | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        url = urlsplit(self.access.server)
        self._host, self._netloc = url.hostname or "", url.netloc
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._prefix = url.path

    def credentials(self) -> dict[str, str]:
        """The Authorization header, if a token is configured."""
        token = self.access.token
        if self.access.token_file:
            with open(self.access.token_file, encoding="utf-8") as file:
                token = file.read().strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        request = self._head(method, path, query, headers, len(body)) + body
        try:
            answer = await self._ask(method, request)
        except OSError as error:
            raise ApiUnreachable(f"{self.access.server}: {error}") from error
        return Reply(answer.status, answer.headers, answer)

    def _head(
        self, method: str, path: str, query: str, headers: Mapping[str, str], length: int
    ) -> bytes:
        """The head of a request; ``path`` is plain text, ``query`` is already encoded."""
        lines = [f"{method} {self._target(path, query)} HTTP/1.1", f"host: {self._netloc}"]
        for name, value in (*headers.items(), *self.credentials().items()):
            if "\n" in value or "\r" in value:
                raise ValueError(f"the header {name} holds a line break")
            lines.append(f"{name}: {value}")
        if length or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _target(self, path: str, query: str) -> str:
        target = self._prefix + quote(path, safe="/:@!$&'()*+,;=~-._")
        return f"{target}?{query}" if query else target

    async def _ask(self, method: str, request: bytes) -> Answer:
        """Over a connection that is open already, or a new one."""
        while True:
            await self._room.acquire()
            is_used = bool(self._idle)
            try:
                connection = self._idle.popitem()[0] if is_used else await self._connect()
            except BaseException:
                self._room.release()
                raise
            try:
                return await connection.ask(request, is_head=method == "HEAD")
            except NoAnswer:
                if not is_used or method not in REPEATABLE:
                    raise

    async def _connect(self) -> Connection:
        """A connection with the credentials of now, even if they change meanwhile."""
        while True:
            access = self.access
            if self._tls is None:
                self._tls = access.ssl_context()
            connection = await self._dial()
            if access is self.access:
                return connection
            connection.abort()

    async def _dial(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS + HANDSHAKE_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._answered, self._lost),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls is not None else None,
                )
        except TimeoutError:
            raise ApiUnreachable("the connection was not made in time") from None
        self._open.add(connection)
        return connection

    def _answered(self, connection: Connection, is_reusable: bool) -> None:
        """An exchange is over: the connection waits for the next one."""
        self._room.release()
        if not is_reusable:
            return
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_SECONDS, self._close_idle)

    def _lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def _close_idle(self) -> None:
        """The one that was used last is taken first, so the others grow old at the front."""
        loop = asyncio.get_running_loop()
        for connection, since in list(self._idle.items()):
            if loop.time() - since >= IDLE_SECONDS:
                del self._idle[connection]
                connection.abort()
        self._sweep = loop.call_later(IDLE_SECONDS, self._close_idle) if self._idle else None

    async def websocket(
        self, path: str, query: str, protocols: Sequence[str]
    ) -> "aiohttp.ClientWebSocketResponse":
        """Upgrade to a WebSocket; raises StatusError with the server's refusal."""
        # Loaded where it is used: few components open WebSockets.
        import aiohttp
        from yarl import URL

        if self._sockets is None:
            tls = self.access.ssl_context()
            connector = aiohttp.TCPConnector(ssl=tls if tls is not None else True)
            limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._sockets = aiohttp.ClientSession(connector=connector, timeout=limits)
        url = f"{self.access.server.split('://')[0]}://{self._netloc}{self._target(path, query)}"
        try:
            return await self._sockets.ws_connect(
                URL(url.replace("http", "ws", 1), encoded=True),
                protocols=protocols,
                headers=self.credentials(),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise StatusError(
                error.status, "", f"the server refused the upgrade: {error.message}"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnreachable(f"{self.access.server}: {error}") from error

    def with_token(self, token: str) -> "HttpsTransport":
        return HttpsTransport(
            replace(self.access, certificate=b"", key=b"", token=token, token_file="")
        )

    async def renew(self, access: Access) -> None:
        """Speak with other credentials from now on.

        Connections that are open are cut, watches too: an API server knows a client by the
        certificate that its connection began with.
        """
        self.access, self._tls = access, None
        await self.close()

    async def close(self) -> None:
        """Cut all connections; whoever sends afterwards opens the next one."""
        sockets, self._sockets = self._sockets, None
        if sockets is not None:
            await sockets.close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        # asyncio tells a connection of its end in the loop's next turn.
        await asyncio.sleep(0)
