"""Calls on an API server's handler, as any user, without a client in between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import orjson

from kybern.api.errors import Obj
from kybern.api.user import ADMIN, UserInfo
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.component.clock import Clock
from kybern.component.http.messages import Request
from kybern.store.interface import Store
from kybern.store.memory import MemoryStore


class Answer(NamedTuple):
    status: int
    body: Obj
    headers: dict[str, str]


class Caller:
    """Makes requests to one server."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    async def __call__(
        self,
        method: str,
        path: str,
        obj: Obj | None = None,
        *,
        user: UserInfo | None = ADMIN,
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        sent = {"content-type": "application/json", "accept": "application/json"}
        body = orjson.dumps(obj) if obj is not None else b""
        request = Request(method, path, query, {**sent, **(headers or {})}, body, user=user)
        response = await self.server.handler(request)
        text = response.body
        assert isinstance(text, bytes)
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            parsed = {"text": text.decode()}
        return Answer(response.status, parsed, response.headers)

    async def made(self, path: str, obj: Obj) -> Obj:
        """Create, and fail loudly if that fails."""
        answer = await self("POST", path, obj)
        assert answer.status == 201, answer.body
        return answer.body


@asynccontextmanager
async def running(
    store: Store | None = None, config: Config | None = None, clock: Clock | None = None
) -> AsyncIterator[Caller]:
    """A server over a store (in memory unless one is given), started and closed."""
    own = store or MemoryStore()
    server = ApiServer(config or Config(), own, clock or Clock(1))
    await server.start()
    try:
        yield Caller(server)
    finally:
        await server.close()
        if store is None:
            await own.close()
