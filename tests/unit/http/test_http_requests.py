"""What arrives as a request, what is refused, and in which order responses go out."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest
from http_client import RawClient, Scripted
from hypothesis import given, settings
from hypothesis import strategies as st

from kybern.component.http.messages import Request, Response
from kybern.component.http.parser import Exchange, Limits, RequestParser
from kybern.component.http.server import Server

Start = Callable[..., Awaitable[Server]]

FRAGMENTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a%20b HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 500\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: Upgrade\r\nUpgrade: x\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
]


async def test_a_request_arrives_decoded(client: RawClient, handler: Scripted) -> None:
    await client.send(
        "POST /a%20b/%C3%A9?x=%20&y HTTP/1.1",
        "X-One: 1",
        "Accept: a",
        "Accept: b",
        "Impersonate-Group: cn=a,ou=b",
        "Impersonate-Group: c",
        "Content-Length: 3",
        body=b"abc",
    )
    answer = await client.answer()
    assert answer.status == 200
    (request,) = handler.requests
    assert (request.method, request.path, request.query) == ("POST", "/a b/é", "x=%20&y")
    assert request.body == b"abc"
    assert request.headers["x-one"] == "1"
    assert request.headers["accept"] == "a, b"
    assert request.headers["impersonate-group"] == "cn=a,ou=b\nc"
    assert (request.peer_address, request.peer_certificate) == ("127.0.0.1", None)
    assert request.user is None
    assert request.params() == {"x": [" "], "y": [""]}


async def test_a_response_says_its_length_and_date(client: RawClient) -> None:
    await client.send("GET / HTTP/1.1")
    answer = await client.answer()
    assert answer.body == b"GET / 0"
    assert answer.headers["content-length"] == "7"
    assert answer.headers["date"].endswith(" GMT")
    assert "connection" not in answer.headers


async def test_a_connection_serves_many_requests(client: RawClient) -> None:
    for i in range(3):
        await client.send(f"GET /{i} HTTP/1.1")
        assert (await client.answer()).body == b"GET /%d 0" % i


async def test_pipelined_requests_are_answered_in_order(
    client: RawClient, handler: Scripted
) -> None:
    first_may_end = asyncio.Event()

    async def slow(request: Request) -> Response:
        await first_may_end.wait()
        return Response(200, {}, b"slow")

    handler.routes["/slow"] = slow
    await client.send("GET /slow HTTP/1.1")
    for i in range(100):
        await client.send(f"GET /{i} HTTP/1.1")
    first_may_end.set()
    assert (await client.answer()).body == b"slow"
    for i in range(100):
        assert (await client.answer()).body == b"GET /%d 0" % i


async def test_a_chunked_body_is_put_together(client: RawClient, handler: Scripted) -> None:
    await client.send("PUT / HTTP/1.1", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n")
    await client.send_raw(b"2\r\nde\r\n0\r\n\r\n")
    assert (await client.answer()).body == b"PUT / 5"
    assert handler.requests[0].body == b"abcde"


async def test_head_is_answered_without_a_body(client: RawClient) -> None:
    await client.send("HEAD /a HTTP/1.1")
    answer = await client.answer(to_head=True)
    assert answer.headers["content-length"] == "9"
    await client.send("GET /b HTTP/1.1")
    assert (await client.answer()).body == b"GET /b 0"


async def test_a_client_that_expects_100_is_told_to_continue(client: RawClient) -> None:
    await client.send("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 2")
    assert (await client.head()).status == 100
    await client.send_raw(b"ab")
    assert (await client.answer()).body == b"POST / 2"


async def test_http_1_0_and_connection_close_end_the_connection(server: Server) -> None:
    for lines in (("GET / HTTP/1.0",), ("GET / HTTP/1.1", "Connection: close")):
        client = await RawClient.connect(server)
        await client.send(*lines)
        answer = await client.answer()
        assert answer.headers["connection"] == "close"
        assert await client.at_end()
        await client.close()


async def test_http_1_0_may_ask_to_keep_the_connection(client: RawClient) -> None:
    for _ in range(2):
        await client.send("GET / HTTP/1.0", "Connection: keep-alive")
        assert (await client.answer()).headers["connection"] == "keep-alive"


@pytest.mark.parametrize("by_length", [True, False])
async def test_a_body_beyond_the_limit_is_refused(
    start: Start, handler: Scripted, by_length: bool
) -> None:
    client = await RawClient.connect(await start(max_body_bytes=1000))
    if by_length:
        await client.send("POST / HTTP/1.1", "Content-Length: 1001")
    else:
        chunk = b"100\r\n" + b"x" * 256 + b"\r\n"
        await client.send("POST / HTTP/1.1", "Transfer-Encoding: chunked", body=chunk * 5)
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    status = orjson.loads(answer.body)
    assert status["reason"] == "RequestEntityTooLarge"
    assert status["message"] == "Request entity too large: limit is 1000"
    assert handler.requests == []
    await client.close()


async def test_a_body_of_just_the_limit_is_taken(start: Start) -> None:
    client = await RawClient.connect(await start(max_body_bytes=1000))
    await client.send("POST / HTTP/1.1", "Content-Length: 1000", body=b"x" * 1000)
    assert (await client.answer()).body == b"POST / 1000"
    await client.close()


@pytest.mark.parametrize("whole_lines", [True, False])
async def test_a_head_beyond_the_limit_is_refused(start: Start, whole_lines: bool) -> None:
    client = await RawClient.connect(await start(max_head_bytes=2000))
    client.writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n")
    client.writer.write(
        (b"X: " + b"y" * 50 + b"\r\n") * 100 if whole_lines else b"X: " + b"y" * 5000
    )
    assert (await client.answer()).status == 431
    await client.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_malformed_requests_are_refused(
    client: RawClient, handler: Scripted, sent: bytes
) -> None:
    await client.send_raw(sent)
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert handler.requests == []


async def test_requests_before_a_malformed_one_are_answered_first(client: RawClient) -> None:
    await client.send("GET /good HTTP/1.1")
    await client.send_raw(b"nonsense\r\n\r\n")
    assert (await client.answer()).body == b"GET /good 0"
    assert (await client.answer()).status == 400


async def test_a_target_in_absolute_form_is_understood(client: RawClient) -> None:
    await client.send("GET http://test/a?b HTTP/1.1")
    assert (await client.answer()).body == b"GET /a 0"


async def test_a_handler_that_fails_is_an_internal_error(
    client: RawClient, handler: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: Request) -> Response:
        raise RuntimeError("secret")

    handler.routes["/fail"] = fail
    await client.send("GET /fail HTTP/1.1")
    answer = await client.answer()
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "secret" in caplog.text
    await client.send("GET /next HTTP/1.1")
    assert (await client.answer()).status == 200


async def test_a_header_value_cannot_start_another_header(
    client: RawClient, handler: Scripted
) -> None:
    async def split(request: Request) -> Response:
        return Response(200, {"Warning": "a\r\nSet-Cookie: b"}, b"")

    handler.routes["/"] = split
    await client.send("GET / HTTP/1.1")
    answer = await client.answer()
    assert "set-cookie" not in answer.headers
    assert answer.headers["warning"] == "a  Set-Cookie: b"


async def test_a_client_that_only_half_closes_gets_its_answer(client: RawClient) -> None:
    await client.send("GET /a HTTP/1.1")
    client.writer.write_eof()
    assert (await client.answer()).body == b"GET /a 0"
    assert await client.at_end()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_bytes_break_the_parser(data: st.DataObject) -> None:
    """Whatever arrives, cut anywhere: requests, or one refusal after which nothing is read."""
    pieces = data.draw(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=20), max_size=12))
    sent = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    exchanges: list[Exchange] = []
    limits = Limits(max_head_bytes=200, max_body_bytes=50)
    parser = RequestParser(
        limits,
        "",
        None,
        begun=lambda: None,
        ready=exchanges.append,
        wants_continue=lambda: None,
    )
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        if not parser.refused:
            parser.feed(sent[start:end])
    assert parser.refused == any(exchange.refusal for exchange in exchanges)
    assert not any(exchange.refusal for exchange in exchanges[:-1])
    assert all(len(exchange.request.body) <= 50 for exchange in exchanges)
