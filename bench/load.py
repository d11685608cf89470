"""The client process of ``bench/apiserver.py``: raw HTTPS requests as fast as the server answers.

A load arrives as JSON on stdin, its outcome leaves as JSON on stdout. Requests are bytes made
beforehand and responses are counted by llhttp, so that the client costs a fraction of what the
server does. ``@N@`` in a request becomes a number that is different in every request.
"""

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import httptools
import uvloop

# Events carry the moment of their write in an annotation: microseconds, sixteen digits.
MOMENT = b'"moment":"'
DIGITS = 16


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self, host: str, token: str) -> None:
        self._head = f"Host: {host}\r\nAccept: application/json\r\nUser-Agent: bench/1\r\n"
        if token:
            self._head += f"Authorization: Bearer {token}\r\n"
        self._answer: asyncio.Future[int] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())
        self._parser = httptools.HttpResponseParser(self)

    def prepared(self, load: dict[str, Any]) -> tuple[bytes, bytes]:
        """The head without its length, and the body."""
        head = f"{load['method']} {load['path']} HTTP/1.1\r\n{self._head}"
        if load.get("type"):
            head += f"Content-Type: {load['type']}\r\n"
        return head.encode(), load.get("body", "").encode()

    async def send(self, head: bytes, body: bytes, number: bytes) -> int:
        """One request; returns the status of its response."""
        if body:
            body = body.replace(b"@N@", number)
        head = head.replace(b"@N@", number)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
        return await self._answer

    def close(self) -> None:
        self._transport.close()


class Watcher(Connection):
    """One watch: counts its events and how late they arrive."""

    def __init__(self, host: str, token: str, delays: list[float]) -> None:
        super().__init__(host, token)
        self._delays = delays
        self._rest = b""

    def on_body(self, data: bytes) -> None:
        now = time.time()
        data = self._rest + data
        at = data.find(MOMENT)
        end = 0
        while at >= 0 and len(data) >= at + len(MOMENT) + DIGITS:
            end = at + len(MOMENT) + DIGITS
            self._delays.append(now - int(data[at + len(MOMENT) : end]) / 1e6)
            at = data.find(MOMENT, end)
        self._rest = data[end:] if at >= 0 else data[max(end, len(data) - len(MOMENT)) :]


def security(load: dict[str, Any]) -> ssl.SSLContext:
    """The server is trusted by its CA; the client shows its certificate unless it has a token."""
    context = ssl.create_default_context(cafile=load["ca"])
    if not load.get("token"):
        context.load_cert_chain(load["certificate"], load["key"])
    return context


async def connect(load: dict[str, Any], make: Any) -> Any:
    loop = asyncio.get_running_loop()
    where = ("127.0.0.1", load["port"])
    _, protocol = await loop.create_connection(make, *where, ssl=security(load))
    return protocol


async def requests(load: dict[str, Any]) -> dict[str, Any]:
    """Send ``count`` requests over ``connections``; the first ``warm`` of them are not measured."""
    token = load.get("token", "")
    connections = [
        await connect(load, lambda: Connection("bench", token)) for _ in range(load["connections"])
    ]
    statuses: dict[int, int] = {}
    times: list[float] = []

    async def one(index: int, connection: Connection, count: int, first: int) -> None:
        head, body = connection.prepared(load)
        head = head.replace(b"@C@", b"%d" % index)
        body = body.replace(b"@C@", b"%d" % index)
        for number in range(first, first + count):
            start = time.perf_counter()
            status = await connection.send(head, body, b"%d-%d" % (index, number))
            times.append(time.perf_counter() - start)
            statuses[status] = statuses.get(status, 0) + 1

    async def all_of(count: int, first: int) -> None:
        each = count // len(connections)
        await asyncio.gather(
            *(one(n, connection, each, first) for n, connection in enumerate(connections))
        )

    await all_of(load["warm"], 0)
    statuses.clear()
    times.clear()
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, start = time.process_time(), time.perf_counter()
    await all_of(load["count"], load["warm"])
    seconds = time.perf_counter() - start
    cpu = time.process_time() - cpu
    for connection in connections:
        connection.close()
    return {
        "count": len(times),
        "seconds": seconds,
        "client_cpu": cpu,
        "statuses": statuses,
        **percentiles(times),
    }


async def watches(load: dict[str, Any]) -> dict[str, Any]:
    """Change one object ``rate`` times a second under the eyes of ``watchers``."""
    token = load.get("token", "")
    delays: list[float] = []
    get, nothing = {"method": "GET", "path": load["watch"]}, b""
    watchers = []
    for _ in range(load["watchers"]):
        watcher = await connect(load, lambda: Watcher("bench", token, delays))
        head, _ = watcher.prepared(get)
        watchers.append((watcher, asyncio.create_task(watcher.send(head, nothing, nothing))))
    writer = await connect(load, lambda: Connection("bench", token))
    head, body = writer.prepared(load)
    await asyncio.sleep(1)
    print("ready", flush=True)
    sys.stdin.readline()
    delays.clear()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(load["count"]):
        await asyncio.sleep(start + number / load["rate"] - loop.time())
        await writer.send(head, body, b"%016d" % int(time.time() * 1e6))
    wanted = load["count"] * load["watchers"]
    patience = loop.time() + 10
    while len(delays) < wanted and loop.time() < patience:
        await asyncio.sleep(0.05)
    seconds = loop.time() - start
    for watcher, task in watchers:
        task.cancel()
        watcher.close()
    await asyncio.gather(*(task for _, task in watchers), return_exceptions=True)
    return {
        "count": len(delays),
        "wanted": wanted,
        "seconds": seconds,
        "statuses": {200: len(delays)},
        **percentiles(delays),
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    values = sorted(values) or [0.0]
    last = len(values) - 1
    return {"p50": values[last // 2] * 1e3, "p99": values[last * 99 // 100] * 1e3}


if __name__ == "__main__":
    load = json.loads(sys.stdin.readline())
    print(json.dumps(uvloop.run(watches(load) if "watch" in load else requests(load))), flush=True)
