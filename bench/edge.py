"""Requests per second over TLS, and the server's CPU per request; the clients are other processes.

.venv/bin/python bench/edge.py
"""

import asyncio
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from kybern.component.clock import Clock
from kybern.component.http.messages import Request, Response
from kybern.component.http.server import Server, serve
from kybern.component.pki import CertificateAuthority
from kybern.component.tls import TlsConfig

SMALL = b"{" + b"x" * 5_000 + b"}"
LARGE = b"x" * 5_000_000
HEADERS = {"Content-Type": "application/json", "Audit-Id": "0123456789abcdef"}
SENT = (
    "Host: test\r\nAccept: application/json\r\nUser-Agent: bench/1.0\r\n"
    "Authorization: Bearer 0123456789abcdef\r\n"
)


async def handler(request: Request) -> Response:
    if request.path == "/large":
        return Response(200, HEADERS, LARGE)
    if request.path == "/stream":
        return Response(200, HEADERS, events())
    return Response(200, HEADERS, SMALL)


async def events() -> AsyncIterator[bytes]:
    for _ in range(2_000):
        yield SMALL
        await asyncio.sleep(0)


async def client(port: int, method: str, path: str, connections: int, each: int) -> None:
    """What a client process does: keep-alive requests, one after the other per connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    body = SMALL if method == "POST" else b""
    message = f"{method} {path} HTTP/1.1\r\n{SENT}Content-Length: {len(body)}\r\n\r\n".encode()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        for _ in range(each):
            writer.write(message + body)
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            else:
                length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))


async def measure(
    server: Server, name: str, method: str, path: str, connections: int, each: int, per: int = 1
) -> None:
    """Run a client process and print the rate of ``per`` operations a request."""
    arguments = [str(server.port), method, path, str(connections), str(each)]
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments)
    wall, cpu = time.perf_counter(), time.process_time()
    await process.wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = connections * each * per
    print(f"{name:44} {count / wall:10,.0f} /s {cpu / count * 1e6:10.1f} us server CPU")


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        pair = CertificateAuthority.create("bench", Clock()).issue_server("server", ["127.0.0.1"])
        pair.save(Path(directory), "server")
        tls = TlsConfig(f"{directory}/server.crt", f"{directory}/server.key", True)
        server = await serve(handler, "127.0.0.1", 0, tls)
        await measure(server, "GET 5 KB, 1 connection", "GET", "/", 1, 5_000)
        await measure(server, "GET 5 KB, 32 connections", "GET", "/", 32, 500)
        await measure(server, "POST 5 KB, 16 connections", "POST", "/", 16, 500)
        await measure(server, "GET 5 MB, 1 connection", "GET", "/large", 1, 100)
        await measure(
            server, "5 KB chunks of a stream, 16 connections", "GET", "/stream", 16, 1, 2000
        )
        await measure(server, "TLS handshake and a GET", "GET", "/", 300, 1)
        await server.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        port, method, path, connections, each = sys.argv[1:]
        uvloop.run(client(int(port), method, path, int(connections), int(each)))
    else:
        uvloop.run(main())
