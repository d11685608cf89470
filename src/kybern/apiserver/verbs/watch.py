"""WATCH: a stream of events, encoded once for all who watch in the same form."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import orjson

from kybern.api import protobuf
from kybern.api.errors import Obj, StatusError, not_acceptable
from kybern.apiserver.cache import Watch, WatchEvent, storage_error
from kybern.apiserver.call import Call
from kybern.apiserver.negotiation import JSON, PROTOBUF, STREAMED_TYPES
from kybern.apiserver.options import ListOptions, list_options
from kybern.apiserver.responses import (
    include_object,
    partial_metadata,
    served_json,
    served_message,
    table_of,
)
from kybern.apiserver.verbs.list import prefix
from kybern.apiserver.websocket_streams import answer
from kybern.component.http.messages import Response
from kybern.component.http.websocket import Message, is_websocket, offered_subprotocols
from kybern.store.interface import StoreError

# A watch without a timeout of its own ends after one to two times this long, so that clients
# spread over several API servers again and again.
MIN_TIMEOUT_SECONDS = 1800.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Encode = Callable[[WatchEvent], bytes]


async def watch(call: Call) -> Response:
    """Open a watch; what fails afterwards arrives as an ERROR event."""
    options = list_options(call.info, call.served)
    if call.output.media_type not in STREAMED_TYPES:
        raise not_acceptable(f"{media_type};stream=watch" for media_type in STREAMED_TYPES)
    if call.output.convert == "Table":
        include_object(call)
    opened = call.cache.watch(
        prefix(call),
        selector=options.labels,
        fields=options.fields,
        resource_version=options.resource_version,
        match=options.match,
        continue_token=options.continue_token,
        allow_bookmarks=options.allow_bookmarks,
        send_initial_events=options.send_initial_events,
    )
    events = _stream(call, opened, options)
    if is_websocket(call.request):
        return _over_websocket(call, events)
    binary = call.output.media_type == PROTOBUF
    return Response(200, {"Content-Type": f"{PROTOBUF};stream=watch" if binary else JSON}, events)


def _over_websocket(call: Call, events: AsyncIterator[bytes]) -> Response:
    """One message an event, whatever subprotocol the client names."""
    split = protobuf.watch_events if call.output.media_type == PROTOBUF else _lines

    async def messages(subprotocol: str) -> AsyncIterator[Message]:
        async for chunk in events:
            for message in split(chunk):
                yield message

    return answer(call.request, offered_subprotocols(call.request), messages)


def _lines(chunk: bytes) -> Iterable[str]:
    return chunk.decode().splitlines()


async def _stream(call: Call, opened: Watch, options: ListOptions) -> AsyncIterator[bytes]:
    encode = _encoder(call)
    loop = asyncio.get_running_loop()
    spread = MIN_TIMEOUT_SECONDS * (1 + call.services.clock.random.random())
    deadline = loop.time() + (options.timeout_seconds or spread)
    try:
        while True:
            async with asyncio.timeout_at(deadline):
                events = await opened.batch()
            if not events:
                return
            call.cache.events_sent += len(events)
            yield b"".join([encode(event) for event in events])
    except TimeoutError:
        return
    except StatusError as error:
        yield _event(call, "ERROR", error.status())
    except StoreError as error:
        yield _event(call, "ERROR", storage_error(error).status())
    finally:
        opened.close()


def _encoder(call: Call) -> Encode:
    """How this watch writes an event; what it writes is shared by all watches of the same form."""
    output, served = call.output, call.served
    if output.convert == "Table":
        return _table_encoder(call)
    if output.plain_json and served.api_version == served.kind.storage_api_version:
        return lambda event: event.json() if event.object is not None else _bookmark(call, event)
    form = (served.api_version, output)

    def encode(event: WatchEvent) -> bytes:
        if event.object is None:
            return _bookmark(call, event)
        return event.encoded(form, encode_object)

    def encode_object(event: WatchEvent) -> bytes:
        assert event.object is not None
        if output.convert:
            return _event(call, event.type, partial_metadata(event.object.obj, output))
        if output.media_type == PROTOBUF:
            raw = served_message(served, event.object)
            document = protobuf.envelope(served.api_version, served.kind.kind, raw)
            return protobuf.watch_frame(event.type, document)
        return _line(event.type, served_json(served, event.object))

    return encode


def _table_encoder(call: Call) -> Encode:
    """Tables of one row; only the first event of a watch carries the column definitions."""
    first = True

    def encode(event: WatchEvent) -> bytes:
        nonlocal first
        items = [] if event.object is None else [call.served.from_storage(event.object.obj)]
        shown = table_of(call, items, {"resourceVersion": str(event.revision)}, with_columns=first)
        if event.object is None:
            bookmark = partial_metadata(_bookmark_object(call, event), call.output)
            shown["rows"] = [{"cells": [], "object": bookmark}]
        first = False
        return _line(event.type, orjson.dumps(shown))

    return encode


def _bookmark_object(call: Call, event: WatchEvent) -> Obj:
    metadata: Obj = {"resourceVersion": str(event.revision)}
    if event.initial_events_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return {
        "kind": call.kind.kind,
        "apiVersion": call.served.api_version,
        "metadata": metadata,
    }


def _bookmark(call: Call, event: WatchEvent) -> bytes:
    obj = _bookmark_object(call, event)
    return _event(
        call, event.type, partial_metadata(obj, call.output) if call.output.convert else obj
    )


def _event(call: Call, type: str, obj: Obj) -> bytes:
    """An event of its own, as this watch's media type has it."""
    if call.output.media_type == PROTOBUF:
        return protobuf.watch_frame(type, protobuf.encode(obj))
    return _line(type, orjson.dumps(obj))


def _line(type: str, body: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type.encode(), body)
