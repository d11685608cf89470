"""An API server of its own for a test: no controllers, all of admission.

Its store is in memory. Tests that ask for ``each_store`` run once more on etcd.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from kybern.api.user import ADMIN
from kybern.apiserver.config import Config
from kybern.apiserver.server import ApiServer
from kybern.client import Client, ClientResponse
from kybern.component.clock import Clock
from kybern.store.interface import Store
from kybern.store.memory import MemoryStore

open_store: Callable[[], Store] = MemoryStore
POD_SPEC = {"containers": [{"name": "c", "image": "i"}]}


@dataclass
class Lab:
    """The server and an administrator's client."""

    server: ApiServer
    client: Client

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> ClientResponse:
        """One raw request; ``body`` is encoded unless it is bytes."""
        headers = {"Content-Type": content_type, "Accept": accept, "User-Agent": "lab/1"}
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        bare, _, query = path.partition("?")
        pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
        return await self.client.request(
            method, bare, query=dict(pairs), body=data, headers=headers
        )


@asynccontextmanager
async def serving() -> AsyncIterator[Lab]:
    """A started server with the default service account that pods need."""
    clock = Clock(seed=1)
    store = open_store()
    server = ApiServer(Config(), store, clock)
    await server.start()
    try:
        lab = Lab(server, Client.in_process(server.handler, ADMIN, clock))
        path = "/api/v1/namespaces/default/serviceaccounts"
        await lab.call("POST", path, {"metadata": {"name": "default"}})
        yield lab
    finally:
        await server.close()
        await store.close()
