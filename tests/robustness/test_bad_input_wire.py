"""Bad input over HTTPS against a server process: it answers, stores nothing, lives, stays small."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from malformed import JSON_BODIES, MEBIBYTE, YAML_BODIES

from kybern.api.resources import CONFIG_MAPS
from kybern.component.kubeconfig import load_access
from running_cluster import RunningCluster, free_port

PATH = "/api/v1/namespaces/default/configmaps"
SENTINEL = b'{"metadata":{"name":"wire"}}'
MOST_GROWTH_MEBIBYTES = 300


class Wire:
    """Exact bytes to a server, over TLS with the administrator's certificate."""

    def __init__(self, cluster: RunningCluster) -> None:
        access = load_access(cluster.data_dir / "kubeconfig")
        context = access.ssl_context()
        assert isinstance(context, ssl.SSLContext)
        self._tls = context
        self._port = int(access.server.rpartition(":")[2])

    async def send(self, data: bytes, *, tls: bool = True) -> tuple[int, bytes]:
        """The status and body of the first answer; 0 if the server just hangs up."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls if tls else None
        )
        try:
            async with asyncio.timeout(60):
                sending = asyncio.create_task(self._write(writer, data))
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionError):
                    return 0, b""
                finally:
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length.group(1))) if length else b""
                return int(head.split()[1]), body
        finally:
            writer.transport.abort()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    async def abandon(self, data: bytes) -> None:
        """Send and vanish."""
        _, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        await self._write(writer, data)
        writer.transport.abort()


def post(body: bytes, *headers: bytes, media_type: bytes = b"application/json") -> bytes:
    lines = [b"POST " + PATH.encode() + b" HTTP/1.1", b"Host: x", b"Content-Type: " + media_type]
    if not any(line.lower().startswith((b"content-length", b"transfer")) for line in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *headers, b"", body])


def peak_mebibytes(process: int) -> int:
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) // 1024


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    flags = ("--nodes=0", "--simulated-nodes=0", "--disable=controller-manager,scheduler")
    port = f"--secure-port={free_port()}"
    running = RunningCluster(tmp_path_factory.mktemp("wire"), (port, *flags))
    try:
        running.up()
        yield running
    finally:
        running.down()


@pytest_asyncio.fixture
async def wire(cluster: RunningCluster) -> AsyncIterator[Wire]:
    """A connection to a server that must be the same afterwards, with the same ConfigMaps."""
    process = cluster.processes()["apiserver"]
    client = cluster.client()
    before = await client.list_all(CONFIG_MAPS)
    yield Wire(cluster)
    assert await client.list_all(CONFIG_MAPS) == before
    await client.close()
    assert cluster.processes()["apiserver"] == process
    assert "Traceback" not in (cluster.data_dir / "logs" / "apiserver.log").read_text()


CHUNK = b"%x\r\n" % MEBIBYTE + b"x" * MEBIBYTE + b"\r\n"
REFUSED: dict[str, tuple[bytes, int]] = {
    "4 MB": (post(b"x" * 4 * MEBIBYTE), 413),
    "4 MB announced": (post(b"", b"Content-Length: 4194304"), 413),
    "4 MB in chunks": (post(CHUNK * 4, b"Transfer-Encoding: chunked"), 413),
    "an absurd length": (post(b"", b"Content-Length: " + b"9" * 60), 0),
    "a negative length": (post(b"", b"Content-Length: -1"), 400),
    "two lengths": (post(b"xx", b"Content-Length: 1", b"Content-Length: 2"), 400),
    "a broken chunk": (post(b"zz\r\n", b"Transfer-Encoding: chunked"), 400),
    "a huge header": (post(b"", b"X-Long: " + b"x" * 2 * MEBIBYTE), 431),
    "200,000 headers": (post(b"", *(b"X-%d: x" % n for n in range(200_000))), 431),
    "a nul in a header": (post(b"", b"X-Nul: a\x00b"), 400),
    "no method": (b"\x00\x01\x02 / HTTP/1.1\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a bad escape": (b"GET /api/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "a path of bad utf-8": (b"GET /api/%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a raw byte in the path": (b"GET /api/\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_broken_requests_are_refused(wire: Wire, case: str) -> None:
    data, expected = REFUSED[case]
    status, body = await wire.send(data)
    assert b"Traceback" not in body
    assert status == expected or (expected == 0 and status in (400, 413)), (status, body[:300])
    if body.startswith(b"{"):
        answer = orjson.loads(body)
        assert answer["kind"] == "Status" and answer["reason"] and answer["code"] == status


async def test_odd_bytes_in_headers_fail_nothing(wire: Wire) -> None:
    for header in (b"User-Agent: \xff\xfe", b"Accept: \xff", b"Authorization: Bearer \xff"):
        message = post(SENTINEL, header).replace(b" HTTP", b"?dryRun=All HTTP", 1)
        status, body = await wire.send(message)
        assert 200 <= status < 500, (header, status, body[:300])


async def test_plain_http_on_the_tls_port_is_hung_up_on(wire: Wire) -> None:
    status, _ = await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tls=False)
    assert status in (0, 400)


async def test_abandoned_bodies_store_nothing(wire: Wire) -> None:
    whole = post(SENTINEL, b"Content-Length: %d" % (len(SENTINEL) + 1))
    await asyncio.gather(*(wire.abandon(whole) for _ in range(50)))
    assert (await wire.send(post(b"{")))[0] == 400


async def test_memory_stays_bounded_under_heavy_bodies(wire: Wire, cluster: RunningCluster) -> None:
    process = cluster.processes()["apiserver"]
    before = peak_mebibytes(process)
    heavy = [
        (b"application/json", JSON_BODIES["deep nesting"]),
        (b"application/json", JSON_BODIES["millions of nulls"]),
        (b"application/json", b'{"metadata":{' + b'"a":{' * 500_000),
        (b"application/yaml", YAML_BODIES["open brackets"]),
        (b"application/yaml", YAML_BODIES["billion laughs"]),
    ]
    for media_type, body in heavy:
        message = post(body, media_type=media_type)
        answers = await asyncio.gather(*(wire.send(message) for _ in range(6)))
        assert {status for status, _ in answers} == {400}
    assert peak_mebibytes(process) - before < MOST_GROWTH_MEBIBYTES
