"""Bytes to an API server and back: what a transport is, and the one inside a process.

``https.py`` has the other one. Both give the same :class:`Reply`, whose body arrives in chunks, so
that a watch is read the same way in either. Nothing here knows the API's verbs.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self
from urllib.parse import urlencode

from kybern.api.user import UserInfo
from kybern.component.http.messages import Handler, Request


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


def encode_query(query: Mapping[str, str | int | bool] | None) -> str:
    """Drop empty parameters and encode the rest; booleans as ``true``."""
    if not query:
        return ""
    pairs = [
        (name, "true" if value is True else str(value)) for name, value in query.items() if value
    ]
    return urlencode(pairs)
