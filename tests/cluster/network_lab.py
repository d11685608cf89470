"""A small network of real kernel network namespaces for tests of packets.

``Lab`` makes a switch with nodes and an outside client on it, and pods behind the nodes' bridges,
as the CNI plugins would. Everything happens in private namespaces with names of their own, in this
one process: a socket belongs to the namespace in which it was made, so ``inside`` is only needed
around its creation.
"""

import asyncio
import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kybern.testing.patience import PATIENCE

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
SECONDS = 3.0 * PATIENCE
# Long enough for an answer that must not come: the lab answers within milliseconds.
SILENCE = 0.5

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/usr/sbin/nft", os.X_OK),
    reason="real packets need root, network namespaces and nft",
)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run the block of this thread in a network namespace."""
    with open(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net") as own:
        with open(f"/run/netns/{namespace}") as other:
            _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@dataclass
class Host:
    """One namespace and its address; ``servers`` answer until the lab ends."""

    namespace: str
    address: str
    name: str
    servers: list[Any] = field(default_factory=list)

    def sysctl(self, name: str, value: str) -> None:
        with inside(self.namespace):
            Path("/proc/sys", name).write_text(value)

    def socket(self, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        with inside(self.namespace):
            made = socket.socket(socket.AF_INET, kind, protocol)
        made.setblocking(False)
        return made

    async def ask(
        self,
        address: str,
        port: int,
        *,
        source: str = "",
        patience: float = SECONDS,
        protocol: int = 0,
    ) -> str:
        """What a TCP (or SCTP) server says: "NAME sees CLIENT"; raises OSError or TimeoutError."""
        connection = self.socket(socket.SOCK_STREAM, protocol)
        if source:
            connection.bind((source, 0))
        loop = asyncio.get_running_loop()
        with contextlib.closing(connection):
            async with asyncio.timeout(patience):
                await loop.sock_connect(connection, (address, port))
                return (await loop.sock_recv(connection, 100)).decode()

    async def serve(self, port: int, address: str = "0.0.0.0") -> None:
        """Answer TCP and UDP with who this is and whom it sees."""
        await self.serve_streams(port, address)
        datagrams = self.socket(socket.SOCK_DGRAM)
        datagrams.bind((address, port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Greeter(self.name), sock=datagrams
        )
        self.servers.append(transport)

    async def serve_streams(self, port: int, address: str = "0.0.0.0", protocol: int = 0) -> None:
        """Answer TCP, or SCTP where that is the protocol; raises OSError where there is none."""
        listening = self.socket(socket.SOCK_STREAM, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            client = writer.get_extra_info("peername")[0]
            writer.write(f"{self.name} sees {client}".encode())
            await writer.drain()
            writer.close()

        self.servers.append(await asyncio.start_server(greet, sock=listening))


class _Greeter(asyncio.DatagramProtocol):
    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        self.transport.sendto(f"{self.name} sees {client[0]}".encode(), client)  # type: ignore


class UdpClient:
    """A client that keeps its socket, as DNS resolvers and games do."""

    def __init__(self, host: Host, address: str, port: int) -> None:
        self.socket = host.socket(socket.SOCK_DGRAM)
        self.socket.connect((address, port))
        host.servers.append(self.socket)

    async def ask(self, patience: float = SECONDS) -> str:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(patience):
            await loop.sock_sendall(self.socket, b"who is there")
            return (await loop.sock_recv(self.socket, 100)).decode()


def make_machine() -> str:
    """A namespace that stands for a whole machine: an address and a default route; its name."""
    name = f"kyt{secrets.token_hex(4)}"
    run("ip", "netns", "add", name)
    for command in (
        "link set lo up",
        "link add eth0 type veth peer name wire",
        "addr add 192.168.77.1/24 dev eth0",
        "link set eth0 up",
        "link set wire up",
        "route add default via 192.168.77.254",
    ):
        run("ip", "-n", name, *command.split())
    with inside(name):
        # New namespaces inherit the settings of the machine, which may be a node itself.
        for setting in ("ip_forward", "conf/all/forwarding", "conf/eth0/forwarding"):
            Path("/proc/sys/net/ipv4", setting).write_text("0")
    return name


class Lab:
    """``outside`` and two nodes ``one`` and ``two`` on 192.168.77.0/24; pods by ``pod``."""

    def __init__(self) -> None:
        self.prefix = f"kyt{secrets.token_hex(3)}"
        self._namespaces: list[str] = []
        self._hosts: list[Host] = []
        self._cables = 0
        self.switch = self._namespace("sw")
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        self.one = self._machine("one", "192.168.77.1")
        self.two = self._machine("two", "192.168.77.2")
        self.outside = self._machine("outside", "192.168.77.9")
        for node, subnet in ((self.one, 1), (self.two, 2)):
            self._make_node(node, subnet)
        self._route(self.one, "10.244.2.0/24", "192.168.77.2")
        self._route(self.two, "10.244.1.0/24", "192.168.77.1")

    def _namespace(self, name: str) -> str:
        full = f"{self.prefix}-{name}"
        run("ip", "netns", "add", full)
        self._namespaces.append(full)
        run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def _machine(self, name: str, address: str) -> Host:
        namespace = self._namespace(name)
        port = self._cable(namespace, self.switch)
        run("ip", "-n", self.switch, "link", "set", port, "master", "br0")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "route", "add", "default", "via", "192.168.77.254")
        host = Host(namespace, address, name)
        self._hosts.append(host)
        return host

    def _cable(self, inner: str, outer: str) -> str:
        self._cables += 1
        port = f"p{self._cables}"
        run(
            *("ip", "-n", inner, "link", "add", "eth0", "type", "veth"),
            *("peer", "name", port, "netns", outer),
        )
        run("ip", "-n", inner, "link", "set", "eth0", "up")
        run("ip", "-n", outer, "link", "set", port, "up")
        return port

    def _make_node(self, node: Host, subnet: int) -> None:
        run("ip", "-n", node.namespace, "link", "add", "kybern0", "type", "bridge")
        gateway = f"10.244.{subnet}.1/24"
        run("ip", "-n", node.namespace, "addr", "add", gateway, "dev", "kybern0")
        run("ip", "-n", node.namespace, "link", "set", "kybern0", "up")

    def _route(self, host: Host, destination: str, gateway: str) -> None:
        run("ip", "-n", host.namespace, "route", "add", destination, "via", gateway)

    def pod(self, node: Host, number: int) -> Host:
        """A pod on a node's bridge with the address 10.244.NODE.NUMBER."""
        subnet = 1 if node is self.one else 2
        name = f"{node.name}-{number}"
        namespace = self._namespace(name)
        port = self._cable(namespace, node.namespace)
        link = ("ip", "-n", node.namespace, "link", "set", port)
        run(*link, "master", "kybern0")
        run(*link, "type", "bridge_slave", "hairpin", "on")
        address = f"10.244.{subnet}.{number}"
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "route", "add", "default", "via", f"10.244.{subnet}.1")
        host = Host(namespace, address, name)
        self._hosts.append(host)
        return host

    async def close(self) -> None:
        for host in self._hosts:
            for server in host.servers:
                server.close()
                if isinstance(server, asyncio.Server):
                    await server.wait_closed()
        # Transports close their sockets on the loop's next turn.
        await asyncio.sleep(0)
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace], check=False)
