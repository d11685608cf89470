"""Bytes to an API server and back: over HTTPS, or straight into a handler of this process.

Both transports give the same :class:`Reply`, whose body arrives in chunks, so that a watch is
read the same way in either. Nothing here knows the API's verbs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from kybern.api.errors import StatusError
from kybern.api.user import UserInfo
from kybern.component.http.messages import Handler, Request
from kybern.component.kubeconfig import Access

CONNECTION_LIMIT = 256
CONNECT_TIMEOUT_SECONDS = 10


class ApiUnreachable(ConnectionError):
    """The API server did not answer: refused, reset, timed out or cut off mid-reply."""


@dataclass(slots=True)
class Reply:
    """A status, lower-case headers and a body in chunks; close it when done with the body."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        close = getattr(self.chunks, "aclose", None)
        if close is not None:
            await close()


class Transport(Protocol):
    """What :class:`~kybern.client.client.Client` stands on."""

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Send one request; raises ApiUnreachable."""
        ...

    def with_token(self, token: str) -> "Transport":
        """The same server, spoken to with a bearer token in place of other credentials."""
        ...

    async def close(self) -> None: ...


@dataclass
class InProcessTransport:
    """Calls a handler of this process as ``user``; no socket, thread or TLS.

    Without a user the handler authenticates the request by its headers, as from the wire.
    """

    handler: Handler
    user: UserInfo | None
    token: str = ""

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        if self.token:
            headers = {**headers, "authorization": f"Bearer {self.token}"}
        request = Request(method, path, query, headers, body, user=self.user)
        response = await self.handler(request)
        answer = response.body
        chunks = _whole(answer) if isinstance(answer, bytes) else answer
        names = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, names, chunks)

    def with_token(self, token: str) -> "InProcessTransport":
        return InProcessTransport(self.handler, None, token)

    async def close(self) -> None:
        """Nothing is held."""


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


@dataclass
class HttpsTransport:
    """Pooled HTTP(S) connections to a server, with the credentials of ``access``.

    A token file is read again for every request, because bound tokens are rotated on disk.
    """

    access: Access
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The pool, opened on first use inside the running loop."""
        if self._session is None:
            tls = self.access.ssl_context()
            connector = aiohttp.TCPConnector(
                limit=CONNECTION_LIMIT, ssl=tls if tls is not None else True
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=True
            )
        return self._session

    def credentials(self) -> dict[str, str]:
        """The Authorization header, if a token is configured."""
        token = self.access.token
        if self.access.token_file:
            with open(self.access.token_file, encoding="utf-8") as file:
                token = file.read().strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def url(self, path: str, query: str) -> str:
        """``path`` is plain text; ``query`` is already encoded."""
        encoded = quote(path, safe="/:@!$&'()*+,;=~-._")
        url = self.access.server + encoded
        return f"{url}?{query}" if query else url

    async def send(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        try:
            response = await self.session.request(
                method,
                URL(self.url(path, query), encoded=True),
                data=body or None,
                headers={**headers, **self.credentials()},
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnreachable(f"{self.access.server}: {error}") from error
        names = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, names, _stream(response))

    async def websocket(
        self, path: str, query: str, protocols: Sequence[str]
    ) -> aiohttp.ClientWebSocketResponse:
        """Upgrade to a WebSocket; raises StatusError with the server's refusal."""
        url = self.url(path, query).replace("http", "ws", 1)
        try:
            return await self.session.ws_connect(
                URL(url, encoded=True), protocols=protocols, headers=self.credentials()
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

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _stream(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise ApiUnreachable(str(error)) from error
    finally:
        if response.content.at_eof():
            response.release()
        else:
            response.close()


def encode_query(query: Mapping[str, str | int | bool] | None) -> str:
    """Drop empty parameters and encode the rest; booleans as ``true``."""
    if not query:
        return ""
    pairs = [
        (name, "true" if value is True else str(value)) for name, value in query.items() if value
    ]
    return urlencode(pairs)
