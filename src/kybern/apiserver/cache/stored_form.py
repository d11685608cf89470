"""Reading what another program has stored: a kube-apiserver's protobuf or JSON, or an older form.

What this server writes is the JSON of ``objects.encode_payload``, which a kube-apiserver reads as
well. Everything else is brought into that form as it is read, so that the rest of the server knows
no other; what is stored changes with the next write.
"""

import orjson

from kybern.api import protobuf
from kybern.api.errors import Obj
from kybern.api.kinds import Kind
from kybern.api.schema import schema_for
from kybern.apiserver.cache.objects import encode_payload
from kybern.store.interface import Entry, StoreFailed

_PROTOBUF = b"k8s\0"


def read_stored(kind: Kind, entry: Entry) -> tuple[bytes, Obj]:
    """The payload and the object of an entry; raises StoreFailed for what makes no sense."""
    try:
        if entry.value.startswith(_PROTOBUF):
            obj, own = _of_message(kind, entry.value), False
        else:
            obj, own = orjson.loads(entry.value), _is_own(kind, entry.value)
        if not own:
            obj = _in_storage_version(kind, obj)
    except (protobuf.MalformedProtobuf, ValueError, LookupError, TypeError, AttributeError) as why:
        raise StoreFailed(f'unable to decode the value of the key "{entry.key}": {why}') from why
    if kind.strategy.read is not None:
        kind.strategy.read(obj)
    elif own:
        return entry.value, obj
    return encode_payload(obj), obj


def _is_own(kind: Kind, value: bytes) -> bool:
    """Whether a payload is in this server's form; a kube-apiserver ends its JSON by a line feed."""
    head = f'{{"kind":"{kind.kind}","apiVersion":"{kind.storage_api_version}","metadata":{{'
    return value.startswith(head.encode()) and value.endswith(b"}")


def _of_message(kind: Kind, value: bytes) -> Obj:
    """An object in protobuf, whose messages leave out what Go's types show as empty."""
    obj = protobuf.decode(value)
    _, _, version = obj["apiVersion"].rpartition("/")
    return schema_for(kind.group, version, kind.kind).normalise(obj)


def _in_storage_version(kind: Kind, obj: Obj) -> Obj:
    if obj.setdefault("kind", kind.kind) != kind.kind:
        raise ValueError(f"it is a {obj['kind']}, not a {kind.kind}")
    obj["metadata"].pop("resourceVersion", None)
    if obj.setdefault("apiVersion", kind.storage_api_version) != kind.storage_api_version:
        obj = kind.strategy.convert(obj, kind.storage_api_version)
    return obj
