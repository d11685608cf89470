"""Objects, lists and failures as responses, in the form that the client asked for.

The verbs call these with what they read or stored. Stored bytes go out as they are wherever the
client takes plain JSON in the storage version; only then is a GET a matter of microseconds.
"""

import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import orjson

from kybern.api import protobuf, table, yaml
from kybern.api.errors import Obj, StatusError, bad_request
from kybern.api.kinds import Kind, ServedKind
from kybern.apiserver.cache import CachedObject
from kybern.apiserver.call import Call
from kybern.apiserver.negotiation import JSON, PLAIN, PROTOBUF, YAML, Output
from kybern.component.http.messages import Request, Response

# Bodies above this many bytes are compressed for clients that accept it, as upstream does.
GZIP_THRESHOLD = 128 * 1024
CHUNK = 128 * 1024

Stored = CachedObject | Obj
_INCLUDES = ("", "Metadata", "Object", "None")


def encode(obj: Any, output: Output = PLAIN) -> bytes:
    """An object's text in the negotiated media type."""
    if output.media_type == YAML:
        return yaml.dump(obj).encode()
    if output.media_type == PROTOBUF:
        return protobuf.encode(obj)
    return orjson.dumps(obj, option=orjson.OPT_INDENT_2 if output.pretty else None)


def respond(obj: Any, status: int = 200, output: Output = PLAIN) -> Response:
    """Any document as a response."""
    return Response(status, {"Content-Type": output.media_type}, encode(obj, output))


def failure(error: StatusError, output: Output = PLAIN) -> Response:
    """An error as a Status."""
    response = respond(error.status(), error.code, output)
    response.headers.update(error.headers)
    return response


_PLAIN_TEXT = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
}


def page_not_found() -> Response:
    """What an unknown path gets."""
    return Response(404, dict(_PLAIN_TEXT), b"404 page not found\n")


def too_many_requests(headers: Mapping[str, str]) -> Response:
    """What a request gets for which there is no room."""
    text = b"Too many requests, please try again later.\n"
    return Response(429, {**_PLAIN_TEXT, **headers}, text)


def success(kind: str, name: str = "", uid: str = "", group: str = "") -> Obj:
    """The Status that stands for an object that is gone."""
    details = {"name": name, "group": group, "kind": kind, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def served_object(served: ServedKind, stored: Stored) -> Obj:
    """A stored object in the served version; read-only if it comes from the cache."""
    return served.from_storage(stored.obj if isinstance(stored, CachedObject) else stored)


def served_json(served: ServedKind, cached: CachedObject) -> bytes:
    """The JSON text of a stored object in the served version, encoded once."""
    if served.api_version == served.kind.storage_api_version:
        return cached.json()
    return cached.encoded(
        served.api_version, lambda found: orjson.dumps(served.from_storage(found.obj))
    )


def served_message(served: ServedKind, cached: CachedObject) -> bytes:
    """The protobuf message of a stored object in the served version, encoded once."""
    version = served.api_version
    return cached.encoded(
        (PROTOBUF, version),
        lambda found: protobuf.message(version, served.kind.kind, served.from_storage(found.obj)),
    )


def object_response(call: Call, stored: Stored, status: int = 200) -> Response:
    """One object in the form that the client asked for."""
    output = call.output
    if output.plain_json and isinstance(stored, CachedObject):
        return Response(status, {"Content-Type": JSON}, served_json(call.served, stored))
    if output.plain_protobuf and isinstance(stored, CachedObject):
        raw = served_message(call.served, stored)
        body = protobuf.envelope(call.served.api_version, call.kind.kind, raw)
        return compressed(call, Response(status, {"Content-Type": PROTOBUF}, body))
    obj = served_object(call.served, stored)
    return compressed(call, respond(transformed(call, obj), status, output))


def transformed(call: Call, obj: Obj) -> Obj:
    """One object as a Table or partial metadata, if the client asked for that."""
    output = call.output
    if not output.convert or obj.get("kind") == "Status":
        return obj
    if output.convert == "Table":
        version = obj["metadata"].get("resourceVersion")
        listed = {"resourceVersion": version} if version else {}
        return table_of(call, [obj], listed)
    if output.convert == "PartialObjectMetadataList":
        raise StatusError(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadataList, but the requested object is not a list "
            f"({_go_type(call.kind)})",
        )
    return partial_metadata(obj, output)


def _go_type(kind: Kind, suffix: str = "") -> str:
    """The kind as upstream's errors name it."""
    return f"*{kind.group.partition('.')[0] or 'core'}.{kind.kind}{suffix}"


def partial_metadata(obj: Obj, output: Output) -> Obj:
    """The object as PartialObjectMetadata of the negotiated version."""
    return {**table.partial_metadata(obj), "apiVersion": f"meta.k8s.io/{output.convert_version}"}


def table_of(call: Call, items: Iterable[Obj], listed: Obj, *, with_columns: bool = True) -> Obj:
    """Items as a Table of the negotiated version."""
    include = include_object(call)
    now = call.services.clock.time()
    shown = table.render(
        call.served, items, include, now, list_meta=listed, with_columns=with_columns
    )
    shown["apiVersion"] = f"meta.k8s.io/{call.output.convert_version}"
    if include == "Metadata":
        for row in shown["rows"]:
            row["object"]["apiVersion"] = shown["apiVersion"]
    return shown


def include_object(call: Call) -> str:
    """The ``includeObject`` parameter of Tables; raises StatusError 400."""
    include = call.info.param("includeObject")
    if include not in _INCLUDES:
        raise bad_request(
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            f"\"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        )
    return include or "Metadata"


def list_response(call: Call, items: Sequence[Stored], metadata: Obj) -> Response:
    """A list of stored objects in the form that the client asked for."""
    output = call.output
    if output.plain_json and all(isinstance(item, CachedObject) for item in items):
        return compressed(call, _joined_list(call, items, metadata))
    if output.plain_protobuf and all(isinstance(item, CachedObject) for item in items):
        return compressed(call, _message_list(call.served, items, metadata))
    objects = [served_object(call.served, item) for item in items]
    if output.convert == "Table":
        return compressed(call, respond(table_of(call, objects, metadata), 200, output))
    if output.convert == "PartialObjectMetadataList":
        return compressed(call, respond(_partial_list(objects, metadata, output), 200, output))
    if output.convert:
        raise StatusError(
            406,
            "NotAcceptable",
            "you requested PartialObjectMetadata, but the requested object is a list "
            f"({_go_type(call.kind, 'List')})",
        )
    return compressed(
        call, respond(_plain_list(call.served, objects, metadata, call.is_custom), 200, output)
    )


def _plain_list(served: ServedKind, objects: list[Obj], metadata: Obj, custom: bool) -> Obj:
    """Items of built-in kinds carry no kind and apiVersion inside a list, as upstream's."""
    kind = f"{served.kind.kind}List"
    leave_out = () if custom else ("kind", "apiVersion")
    items = [{key: obj[key] for key in obj if key not in leave_out} for obj in objects]
    return {"kind": kind, "apiVersion": served.api_version, "metadata": metadata, "items": items}


def _partial_list(objects: list[Obj], metadata: Obj, output: Output) -> Obj:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{output.convert_version}",
        "metadata": metadata,
        "items": [partial_metadata(obj, output) for obj in objects] or None,
    }


def _joined_list(call: Call, items: Sequence[Any], metadata: Obj) -> Response:
    """The list as stored bytes, joined; big ones are streamed in chunks."""
    served = call.served
    head = orjson.dumps(
        {
            "kind": f"{served.kind.kind}List",
            "apiVersion": served.api_version,
            "metadata": metadata,
        }
    )
    type_meta = orjson.dumps({"kind": served.kind.kind, "apiVersion": served.api_version})
    leading = type_meta[:-1] + b","
    length, strip = len(leading), not call.is_custom
    texts: list[bytes] = []
    for item in items:
        text = served_json(served, item)
        texts.append(b"{" + text[length:] if strip and text.startswith(leading) else text)
    body = b'%b,"items":[%b]}' % (head[:-1], b",".join(texts))
    return Response(200, {"Content-Type": JSON}, body)


def _message_list(served: ServedKind, items: Sequence[Any], metadata: Obj) -> Response:
    """The list as the messages of its items, joined."""
    raw = protobuf.list_message(metadata, (served_message(served, item) for item in items))
    body = protobuf.envelope(served.api_version, f"{served.kind.kind}List", raw)
    return Response(200, {"Content-Type": PROTOBUF}, body)


def compressed(call: Call, response: Response) -> Response:
    """The response to a call, with a large body gzipped for clients that accept it."""
    return compressed_for(call.request, response)


def compressed_for(request: Request, response: Response) -> Response:
    """The response to any request, with a large body gzipped."""
    body = response.body
    if not isinstance(body, bytes) or len(body) < GZIP_THRESHOLD:
        return response
    if "gzip" in request.headers.get("accept-encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        vary = response.headers.get("Vary")
        response.headers["Vary"] = f"{vary}, Accept-Encoding" if vary else "Accept-Encoding"
        response.body = _gzip(body)
    return response


async def _gzip(body: bytes) -> AsyncIterator[bytes]:
    """Level 1, chunk by chunk, so that one big list does not hold up everybody else."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    view = memoryview(body)
    for start in range(0, len(body), CHUNK):
        chunk = compressor.compress(view[start : start + CHUNK])
        if chunk:
            yield chunk
    yield compressor.flush()
