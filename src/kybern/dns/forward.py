"""Questions about the rest of the world: upstream resolvers, a bounded cache, a loop guard.

Messages pass as bytes. Equal questions that are under way share one upstream query; there are at
most ``MAX_IN_FLIGHT`` of them, and at most ``MAX_CACHED`` answers, kept for their TTL and no longer
than ``MAX_CACHE_SECONDS``. Each query goes out from a port and with an id of its own, against
forged answers.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import dns.rcode

from kybern.component.clock import Clock
from kybern.dns import wire

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 1000
MAX_CACHED = 10_000
MAX_CACHE_SECONDS = 30
_ATTEMPT_SECONDS = 2.0
_ROUNDS = 2
_RELOAD_SECONDS = 10
_MAX_UPSTREAMS = 3
# systemd-resolved's stub is where many machines' resolv.conf points; this is what it forwards to.
_SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"

Upstream = tuple[str, int]


class Unanswered(Exception):
    """No upstream resolver gave an answer in time, or there is none."""


class _Kept(NamedTuple):
    message: bytes
    offsets: tuple[int, ...]
    since: float
    until: float


class Forwarder:
    """Answers from upstream resolvers."""

    def __init__(self, upstreams: "Upstreams", clock: Clock) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._cache: OrderedDict[bytes, _Kept] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[bytes]] = {}

    async def ask(self, query: bytes, *, tcp: bool = False) -> bytes:
        """The response to a query, under the query's id; raises Unanswered, MalformedMessage."""
        # Header flags and everything behind the question (EDNS options) make another answer.
        question = wire.question_of(query)
        end = wire.HEADER_BYTES + len(question)
        key = bytes([tcp]) + query[2:4] + question + query[end:]
        kept = self._kept(key)
        if kept is not None:
            return wire.in_reply_to(query, kept)
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= MAX_IN_FLIGHT:
                raise Unanswered("too many questions under way")
            task = asyncio.create_task(self._fetch(key, query, tcp))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        reply = await asyncio.shield(task)
        return wire.in_reply_to(query, reply)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: bytes, task: "asyncio.Task[bytes]") -> None:
        del self._under_way[key]
        if not task.cancelled():
            # Whoever asked may have gone; the failure is theirs alone and is not logged twice.
            task.exception()

    def _kept(self, key: bytes) -> bytes | None:
        kept = self._cache.get(key)
        if kept is None:
            return None
        now = self._clock.monotonic()
        if now >= kept.until:
            del self._cache[key]
            return None
        self._cache.move_to_end(key)
        return wire.aged(kept.message, kept.offsets, int(now - kept.since))

    def _keep(self, key: bytes, reply: bytes) -> None:
        if wire.is_truncated(reply) or wire.rcode_of(reply) not in (
            dns.rcode.NOERROR,
            dns.rcode.NXDOMAIN,
        ):
            return
        found = wire.lifetimes(reply)
        if not found.seconds:
            return
        now = self._clock.monotonic()
        until = now + min(found.seconds, MAX_CACHE_SECONDS)
        self._cache[key] = _Kept(reply, found.offsets, now, until)
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)

    async def _fetch(self, key: bytes, query: bytes, tcp: bool) -> bytes:
        for _ in range(_ROUNDS):
            for upstream in self._upstreams.current():
                outgoing = wire.with_id(query, self._clock.random.randbytes(2))
                try:
                    async with asyncio.timeout(_ATTEMPT_SECONDS):
                        exchange = exchange_tcp if tcp else exchange_udp
                        reply = await exchange(upstream, outgoing)
                        self._keep(key, reply)
                except (OSError, TimeoutError, EOFError, wire.MalformedMessage) as error:
                    logger.debug("resolver %s failed: %r", upstream[0], error)
                    self._upstreams.failed(upstream)
                    continue
                return reply
        raise Unanswered("no upstream resolver answered")


class Upstreams:
    """The resolvers to ask, in order of preference; the file is read again when it changes."""

    def __init__(
        self, given: Sequence[str], resolv_conf: str, not_these: Iterable[str], clock: Clock
    ) -> None:
        self._given = [_place(text) for text in given]
        self._file = Path(resolv_conf)
        self._not_these = frozenset(not_these)
        self._clock = clock
        self._found: list[Upstream] = list(self._given)
        self._stamp: tuple[int, int] | None = None
        self._checked = -float(_RELOAD_SECONDS)

    def current(self) -> list[Upstream]:
        """The resolvers, those that failed lately last."""
        now = self._clock.monotonic()
        if not self._given and now - self._checked >= _RELOAD_SECONDS:
            self._checked = now
            self._reload()
        return list(self._found)

    def failed(self, upstream: Upstream) -> None:
        """Ask this one last from now on."""
        if upstream in self._found:
            self._found.remove(upstream)
            self._found.append(upstream)

    def _reload(self) -> None:
        try:
            status = os.stat(self._file)
        except OSError:
            status = None
        stamp = (status.st_mtime_ns, status.st_ino) if status else None
        if stamp == self._stamp and stamp is not None:
            return
        self._stamp = stamp
        self._found = read_resolvers(self._file, self._not_these)
        if not self._found:
            logger.warning("%s names no resolver that can be used", self._file)


def read_resolvers(
    file: Path, not_these: frozenset[str], systemd_file: Path = Path(_SYSTEMD_RESOLV_CONF)
) -> list[Upstream]:
    """Resolvers of a resolv.conf without those that lead back here.

    A stub at 127.0.0.53 is replaced by what it forwards to: it is reachable from the machine's own
    network namespace only, and may well be told to ask the cluster.
    """
    named = [address for address in _name_servers(file) if address not in not_these]
    direct = [address for address in named if not _is_loopback(address)]
    if not direct:
        direct = [
            address
            for address in _name_servers(systemd_file)
            if address not in not_these and not _is_loopback(address)
        ]
    return [(address, 53) for address in direct[:_MAX_UPSTREAMS]]


def _name_servers(file: Path) -> list[str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(words[1].partition("%")[0])
                found.append(words[1])
    return found


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _place(text: str) -> Upstream:
    """``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.lstrip(":") or 53)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, 53


class _UdpExchange(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers; anything else is ignored."""

    def __init__(self, query: bytes) -> None:
        self._query = query
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and wire.answers(data, self._query):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def exchange_udp(upstream: Upstream, query: bytes) -> bytes:
    """One question by UDP, from a port of its own; raises OSError. The caller limits the time."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _UdpExchange(query), remote_addr=upstream
    )
    try:
        transport.sendto(query)
        return await protocol.reply
    finally:
        transport.close()


async def exchange_tcp(upstream: Upstream, query: bytes) -> bytes:
    """One question by TCP; raises OSError, EOFError, MalformedMessage."""
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(len(query).to_bytes(2) + query)
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(2))
        reply = await reader.readexactly(length)
    finally:
        writer.close()
    if not wire.answers(reply, query):
        raise wire.MalformedMessage("the answer is to another question")
    return reply
