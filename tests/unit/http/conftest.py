"""A running server on both kinds of event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop
from http_client import RawClient, Scripted

from kybern.component.http.parser import Limits
from kybern.component.http.server import Server, serve
from kybern.component.tls import TlsConfig


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def handler() -> Scripted:
    return Scripted()


@pytest.fixture
async def start(handler: Scripted) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Starts servers with given limits; they are closed after the test."""
    servers: list[Server] = []

    async def start_(tls: TlsConfig | None = None, **limits: Any) -> Server:
        server = await serve(handler, "127.0.0.1", 0, tls, limits=Limits(**limits))
        servers.append(server)
        return server

    yield start_
    for server in servers:
        await server.close(grace_seconds=0.1)


@pytest.fixture
async def server(start: Callable[..., Awaitable[Server]]) -> Server:
    return await start()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[RawClient]:
    client = await RawClient.connect(server)
    yield client
    await client.close()
