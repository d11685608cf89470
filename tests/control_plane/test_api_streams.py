"""Streams of the API server: what kubelets say passes through, watches over WebSockets."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from api_lab import POD_SPEC, Lab, serving

from kybern.api import protobuf
from kybern.api.resources import CONFIG_MAPS, NODES, PODS
from kybern.api.user import ADMIN
from kybern.apiserver.backends.exchange import BackendUnreachable, Target, exchange
from kybern.apiserver.backends.kubelets import Kubelets
from kybern.component.clock import Clock
from kybern.component.http.messages import Connection, Handler, Request, Response
from kybern.component.http.server import serve


async def _kubelet(request: Request) -> Response:
    """A kubelet that says what it was asked, or echoes an upgraded connection."""
    if request.headers.get("upgrade"):

        async def echo(connection: Connection) -> None:
            while data := await connection.read():
                await connection.write(data.upper())

        headers = {"Connection": "Upgrade", "Upgrade": request.headers["upgrade"]}
        return Response(101, headers, upgrade=echo)
    if "missing" in request.path:
        return Response(400, {}, b"container is waiting to start")

    async def lines() -> AsyncIterator[bytes]:
        yield request.path.encode() + b"\n"
        yield request.query.encode() + b"\n"

    return Response(200, {"Content-Type": "text/plain"}, lines())


class _PlainKubelets(Kubelets):
    """Kubelets of a test listen on plain HTTP on the loopback."""

    def target(self, node: dict[str, object], path: str, query: str = "") -> Target:
        found = super().target(node, path, query)
        return Target(found.host, found.port, found.path)


@asynccontextmanager
async def _with_kubelet() -> AsyncIterator[Lab]:
    edge = await serve(_kubelet, "127.0.0.1", 0, None, clock=Clock())
    try:
        async with serving() as lab:
            assert lab.server.services is not None
            lab.server.services.kubelets = _PlainKubelets()
            await lab.client.create(NODES, {"metadata": {"name": "n1"}})
            status = {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": edge.port}},
            }
            await lab.client.patch(NODES, "n1", {"status": status}, subresource="status")
            for name in ("p", "missing"):
                pod = {"metadata": {"name": name}, "spec": {**POD_SPEC, "nodeName": "n1"}}
                await lab.client.create(PODS, pod, "default")
            yield lab
    finally:
        await edge.close()


async def test_logs_come_from_the_kubelet() -> None:
    async with _with_kubelet() as lab:
        log = await lab.call("GET", "/api/v1/namespaces/default/pods/p/log?tailLines=3")
        failed = await lab.call("GET", "/api/v1/namespaces/default/pods/missing/log")
    assert log.body == b"/containerLogs/default/p/c\ntailLines=3\n"
    assert failed.status == 400
    assert failed.json()["message"] == "container is waiting to start"


async def test_exec_is_relayed_after_the_upgrade() -> None:
    async with _with_kubelet() as lab:
        edge = await serve(_as_admin(lab), "127.0.0.1", 0, None, clock=Clock())
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(
                b"POST /api/v1/namespaces/default/pods/p/exec?command=ls HTTP/1.1\r\n"
                b"Host: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                b"Content-Length: 0\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"hello")
            echoed = await reader.readexactly(5)
            writer.close()
            await writer.wait_closed()
        finally:
            await edge.close()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"spdy/3.1" in head.lower()
    assert echoed == b"HELLO"


async def test_a_watch_over_a_websocket() -> None:
    async with serving() as lab:
        edge = await serve(_as_admin(lab), "127.0.0.1", 0, None, clock=Clock())
        try:
            await lab.client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
            url = f"http://127.0.0.1:{edge.port}/api/v1/namespaces/default/configmaps?watch=1"
            async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
                event = await socket.receive_json()
        finally:
            await edge.close()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")


async def test_a_watch_in_protobuf_over_a_websocket() -> None:
    async with serving() as lab:
        edge = await serve(_as_admin(lab), "127.0.0.1", 0, None, clock=Clock())
        headers = {"Accept": protobuf.MEDIA_TYPE}
        try:
            for name in ("a", "b"):
                await lab.client.create(CONFIG_MAPS, {"metadata": {"name": name}}, "default")
            url = f"http://127.0.0.1:{edge.port}/api/v1/namespaces/default/configmaps?watch=1"
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, headers=headers) as socket,
            ):
                events = [await socket.receive_bytes() for _ in range(2)]
        finally:
            await edge.close()
    documents = [protobuf.decode(event[event.index(b"k8s\x00") :]) for event in events]
    assert [document["metadata"]["name"] for document in documents] == ["a", "b"]


async def test_a_log_over_a_websocket() -> None:
    async with _with_kubelet() as lab:
        edge = await serve(_as_admin(lab), "127.0.0.1", 0, None, clock=Clock())
        url = f"http://127.0.0.1:{edge.port}/api/v1/namespaces/default/pods/p/log"
        received: dict[str, list[object]] = {}
        try:
            for protocol in ("binary.k8s.io", "base64.binary.k8s.io"):
                async with (
                    aiohttp.ClientSession() as session,
                    session.ws_connect(url, protocols=(protocol,)) as socket,
                ):
                    received[protocol] = [message.data async for message in socket]
        finally:
            await edge.close()
    plain = received["binary.k8s.io"]
    assert plain[0] == b""
    assert b"".join(plain).startswith(b"/containerLogs/default/p/c\n")
    decoded = [b64decode(message) for message in received["base64.binary.k8s.io"]]
    assert b"".join(decoded) == b"".join(plain)


async def test_a_node_without_a_kubelet_is_a_clear_error() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    try:
        await exchange(Target("127.0.0.1", port, "/"), "GET", {})
    except BackendUnreachable as error:
        assert str(error).startswith(f"dial tcp 127.0.0.1:{port}: connect: ")
    else:
        raise AssertionError("nobody listens there")


def _as_admin(lab: Lab) -> Handler:
    async def handle(request: Request) -> Response:
        request.user = ADMIN
        return await lab.server.handler(request)

    return handle
