"""Queries over real sockets: limits, odd messages, forwarding to a resolver of the test's own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_zone import ZONE

from kybern.component.clock import Clock
from kybern.dns import wire
from kybern.dns.forward import Forwarder, Upstreams, read_resolvers
from kybern.dns.resolver import Pending, Resolver
from kybern.dns.server import DnsServer
from kybern.dns.zone import EndpointRecord, Zone


class UpstreamResolver(asyncio.DatagramProtocol):
    """Answers every A question with 192.0.2.1 and counts; ``silent`` answers none."""

    def __init__(self, ttl: int = 60) -> None:
        self.asked = 0
        self.silent = False
        self.ttl = ttl

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        if not self.silent:
            self.transport.sendto(self.reply(data), addr)  # type: ignore[attr-defined]

    def reply(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        name = query.question[0].name
        response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "A", "192.0.2.1"))
        return response.to_wire()

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        length = int.from_bytes(await reader.readexactly(2))
        reply = self.reply(await reader.readexactly(length))
        writer.write(len(reply).to_bytes(2) + reply)
        await writer.drain()
        writer.close()


class FixedClock(Clock):
    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[UpstreamResolver, int]]:
    resolver = UpstreamResolver()
    tcp = await asyncio.start_server(resolver.serve_tcp, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: resolver, local_addr=("127.0.0.1", port)
    )
    yield resolver, port
    transport.close()
    tcp.close()
    await tcp.wait_closed()
    await asyncio.sleep(0)


@pytest.fixture
async def clock() -> FixedClock:
    return FixedClock(seed=1)


@pytest.fixture
async def forwarder(
    upstream: tuple[UpstreamResolver, int], clock: FixedClock
) -> AsyncIterator[Forwarder]:
    made = Forwarder(Upstreams([f"127.0.0.1:{upstream[1]}"], "/nonexistent", (), clock), clock)
    yield made
    await made.close()


@pytest.fixture
async def port(forwarder: Forwarder, clock: FixedClock) -> AsyncIterator[int]:
    server = DnsServer(Resolver(ZONE, forwarder, clock), ["127.0.0.0/8"])
    yield await server.start("127.0.0.1", 0)
    await server.close()
    await asyncio.sleep(0)


async def udp(port: int, name: str, rdtype: str = "A", **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, **options)  # type: ignore[arg-type]
    return await dns.asyncquery.udp(query, "127.0.0.1", timeout=5, port=port)


async def tcp(port: int, name: str, rdtype: str = "A") -> dns.message.Message:
    query = dns.message.make_query(name, rdtype)
    return await dns.asyncquery.tcp(query, "127.0.0.1", timeout=5, port=port)


async def test_cluster_names_are_answered_with_authority_over_udp_and_tcp(port: int) -> None:
    for ask in (udp, tcp):
        response = await ask(port, "web.shop.svc.cluster.local.")
        assert response.answer[0].to_text() == "web.shop.svc.cluster.local. 5 IN A 10.96.0.20"
        assert response.flags & dns.flags.AA and response.flags & dns.flags.RA
    assert (await udp(port, "nope.shop.svc.cluster.local.")).rcode() == dns.rcode.NXDOMAIN


async def test_other_names_are_forwarded_and_kept(
    port: int, upstream: tuple[UpstreamResolver, int], clock: FixedClock
) -> None:
    assert (await udp(port, "www.example.com.")).answer[0].ttl == 60
    clock.seconds += 10
    again = await udp(port, "WWW.Example.com.")
    assert again.answer[0].ttl == 50 and upstream[0].asked == 1
    assert again.question[0].name.to_text() == "WWW.Example.com."
    clock.seconds += 30
    await udp(port, "www.example.com.")
    assert upstream[0].asked == 2
    assert (await tcp(port, "www.example.com.")).answer[0][0].to_text() == "192.0.2.1"


async def test_equal_questions_under_way_share_one_upstream_query(
    port: int, upstream: tuple[UpstreamResolver, int]
) -> None:
    answers = await asyncio.gather(
        *(udp(port, "shared.example.com.", use_edns=False) for _ in range(20))
    )
    assert {answer.answer[0][0].to_text() for answer in answers} == {"192.0.2.1"}
    assert upstream[0].asked == 1


async def test_external_names_bring_the_address_behind_them(port: int) -> None:
    response = await udp(port, "mail.shop.svc.cluster.local.")
    assert [rrset.to_text() for rrset in response.answer] == [
        "mail.shop.svc.cluster.local. 5 IN CNAME mx.example.com.",
        "mx.example.com. 60 IN A 192.0.2.1",
    ]


async def test_a_silent_upstream_gives_servfail(
    port: int, upstream: tuple[UpstreamResolver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kybern.dns.forward._ATTEMPT_SECONDS", 0.05)
    upstream[0].silent = True
    assert (await udp(port, "www.example.com.")).rcode() == dns.rcode.SERVFAIL
    assert upstream[0].asked == 2


async def test_strangers_are_not_served(forwarder: Forwarder, clock: FixedClock) -> None:
    server = DnsServer(Resolver(ZONE, forwarder, clock), ["10.244.0.0/16"])
    port = await server.start("127.0.0.1", 0)
    with pytest.raises(EOFError):
        await tcp(port, "web.shop.svc.cluster.local.")
    await server.close()
    await asyncio.sleep(0)


async def test_odd_queries_get_their_codes(port: int) -> None:
    status = dns.message.make_query("web.shop.svc.cluster.local.", "A")
    status.set_opcode(dns.opcode.STATUS)
    version = dns.message.make_query("web.shop.svc.cluster.local.", "A", use_edns=1)
    chaos = dns.message.make_query("version.bind.", "TXT", "CH")
    transfer = dns.message.make_query("cluster.local.", "AXFR")
    for query, code in (
        (status, dns.rcode.NOTIMP),
        (version, dns.rcode.BADVERS),
        (chaos, dns.rcode.REFUSED),
        (transfer, dns.rcode.REFUSED),
    ):
        response = await dns.asyncquery.udp(query, "127.0.0.1", timeout=5, port=port)
        assert response.rcode() == code
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect(("127.0.0.1", port))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        await loop.sock_sendall(client, b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff")
        reply = await loop.sock_recv(client, 512)
    client.close()
    assert reply[:2] == b"\xab\xcd" and wire.rcode_of(reply) == dns.rcode.FORMERR


class Crowd:
    """A directory with one headless Service of many pods."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getattr__(self, name: str) -> object:
        return getattr(ZONE._directory, name)

    def endpoints(self, namespace: str, name: str) -> list[object]:
        return [
            EndpointRecord(f"p{i}", f"10.244.{i // 250}.{i % 250 + 1}", ())
            for i in range(self.count)
        ]


async def test_answers_that_do_not_fit_are_truncated_and_come_whole_by_tcp(
    forwarder: Forwarder, clock: FixedClock
) -> None:
    zone = Zone(Crowd(1000), "cluster.local", dns_address="10.96.0.10", ttl=5)  # type: ignore[arg-type]
    server = DnsServer(Resolver(zone, forwarder, clock), ["127.0.0.0/8"])
    port = await server.start("127.0.0.1", 0)
    try:
        short = await udp(port, "db.shop.svc.cluster.local.")
        whole = await tcp(port, "db.shop.svc.cluster.local.")
    finally:
        await server.close()
        await asyncio.sleep(0)
    assert short.flags & dns.flags.TC and not short.answer
    assert len(whole.answer[0]) == 1000


@given(st.binary(max_size=300))
def test_no_bytes_break_the_resolver(data: bytes) -> None:
    clock = Clock(seed=1)
    resolver = Resolver(ZONE, Forwarder(Upstreams([], "/nonexistent", (), clock), clock), clock)
    answer = resolver.answer_now(data, tcp=False)
    if isinstance(answer, bytes):
        assert not answer or answer[:2] == data[:2]
    else:
        assert isinstance(answer, Pending)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_answers(data: bytes) -> None:
    query = dns.message.make_query("www.example.com.", "A").to_wire()
    try:
        wire.lifetimes(query[:12] + data)
    except wire.MalformedMessage:
        pass


def test_a_stub_resolver_is_replaced_by_what_it_forwards_to(tmp_path: Path) -> None:
    stub, behind = tmp_path / "resolv.conf", tmp_path / "systemd"
    stub.write_text("# comment\nnameserver 127.0.0.53\noptions edns0\n")
    behind.write_text("nameserver 192.0.2.53\nnameserver 10.96.0.10\nnameserver junk\n")
    ours = frozenset({"10.96.0.10"})
    assert read_resolvers(stub, ours, behind) == [("192.0.2.53", 53)]
    assert read_resolvers(stub, ours, tmp_path / "missing") == []
    stub.write_text("nameserver 10.96.0.10\nnameserver 198.51.100.1\n")
    assert read_resolvers(stub, ours, behind) == [("198.51.100.1", 53)]
