"""The transport over HTTPS: pooled connections, credentials, WebSockets.

A :class:`~kybern.client.client.Client` that was made from a kubeconfig stands on it. Clients inside
the API server's process do not, and so need not load an HTTP library.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote
from weakref import WeakSet

import aiohttp
from yarl import URL

from kybern.api.errors import StatusError
from kybern.client.transport import ApiUnreachable, Reply
from kybern.component.kubeconfig import Access

CONNECTION_LIMIT = 256
CONNECT_TIMEOUT_SECONDS = 10


@dataclass
class HttpsTransport:
    """Pooled HTTP(S) connections to a server, with the credentials of ``access``.

    A token file is read again for every request, because bound tokens are rotated on disk.
    """

    access: Access
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _answers: "WeakSet[aiohttp.ClientResponse]" = field(default_factory=WeakSet, init=False)

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
        self._answers.add(response)
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

    async def renew(self, access: Access) -> None:
        """Speak with other credentials from now on.

        Connections that are open are cut, watches too: an API server knows a client by the
        certificate that its connection began with.
        """
        self.access = access
        # Readers of a pool that is closed would not be told: aiohttp lets them wait for ever.
        for response in list(self._answers):
            response.close()
        await self.close()

    async def close(self) -> None:
        # Whoever sends while the old pool is being closed opens the next one.
        session, self._session = self._session, None
        if session is not None:
            await session.close()


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
