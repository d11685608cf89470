"""The DNS server's sockets: UDP and TCP on one address, with limits on everything that waits.

UDP queries about the cluster are answered on the spot, others by at most ``MAX_WAITING`` tasks. TCP
connections are few and short. Only the cluster's own addresses are served: an open resolver is a
weapon against others.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Iterable
from functools import lru_cache

from kybern.dns.resolver import Pending, Resolver

logger = logging.getLogger(__name__)

MAX_WAITING = 1000
MAX_CONNECTIONS = 200
_IDLE_SECONDS = 10


class DnsServer:
    """Listens until closed. ``clients`` are the networks that are served."""

    def __init__(self, resolver: Resolver, clients: Iterable[str]) -> None:
        self._resolver = resolver
        self._clients = [ipaddress.ip_network(text) for text in clients]
        self._waiting: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._allowed = lru_cache(maxsize=4096)(self._is_client)

    async def start(self, address: str, port: int) -> int:
        """Listen; the port, which is the system's choice for 0. Raises OSError."""
        self._tcp = await asyncio.start_server(self._serve_connection, address, port)
        chosen: int = self._tcp.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(address, chosen)
        )
        return chosen

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        if self._transport is not None:
            self._transport.close()
        if self._tcp is not None:
            self._tcp.close()
        tasks = [*self._waiting, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._tcp is not None:
            await self._tcp.wait_closed()

    def _is_client(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return any(parsed in network for network in self._clients)

    def received(self, data: bytes, client: tuple[str, int]) -> None:
        """One datagram."""
        if not self._allowed(client[0]):
            return
        answer = self._resolver.answer_now(data, tcp=False)
        if isinstance(answer, Pending):
            # Above the limit the query is dropped, which a client takes as loss and repeats.
            if len(self._waiting) < MAX_WAITING:
                task = asyncio.create_task(self._answer_later(answer, client))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
            return
        self._send(answer, client)

    async def _answer_later(self, pending: Pending, client: tuple[str, int]) -> None:
        self._send(await self._resolver.answer(pending, tcp=False), client)

    def _send(self, answer: bytes, client: tuple[str, int]) -> None:
        if answer and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, client)

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = writer.get_extra_info("peername")[0]
        if len(self._connections) >= MAX_CONNECTIONS or not self._allowed(client):
            writer.close()
            return
        self._connections.add(task)
        try:
            while await self._serve_query(reader, writer):
                pass
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_query(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One query of a connection; false if it ends here."""
        async with asyncio.timeout(_IDLE_SECONDS):
            length = int.from_bytes(await reader.readexactly(2))
            answer = self._resolver.answer_now(await reader.readexactly(length), tcp=True)
        if isinstance(answer, Pending):
            answer = await self._resolver.answer(answer, tcp=True)
        if not answer:
            return False
        writer.write(len(answer).to_bytes(2) + answer)
        async with asyncio.timeout(_IDLE_SECONDS):
            await writer.drain()
        return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """A client that has gone: nothing to do."""
