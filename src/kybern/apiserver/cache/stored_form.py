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
    obj, own = read_value(entry), _is_own(kind, entry.value)
    try:
        if not own:
            obj = _in_storage_version(kind, obj, entry.value.startswith(_PROTOBUF))
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        raise _senseless(entry, why) from why
    if kind.strategy.read is not None:
        kind.strategy.read(obj)
    elif own:
        return entry.value, obj
    return encode_payload(obj), obj


def read_value(entry: Entry) -> Obj:
    """The object in an entry as it is, whoever has written it; raises StoreFailed."""
    try:
        if entry.value.startswith(_PROTOBUF):
            return protobuf.decode(entry.value)
        obj: Obj = orjson.loads(entry.value)
        return obj
    except ValueError as why:
        raise _senseless(entry, why) from why


def _senseless(entry: Entry, why: Exception) -> StoreFailed:
    return StoreFailed(f'unable to decode the value of the key "{entry.key}": {why}')


def _is_own(kind: Kind, value: bytes) -> bool:
    """Whether a payload is in this server's form; a kube-apiserver ends its JSON by a line feed."""
    head = f'{{"kind":"{kind.kind}","apiVersion":"{kind.storage_api_version}","metadata":{{'
    return value.startswith(head.encode()) and value.endswith(b"}")


def _in_storage_version(kind: Kind, obj: Obj, of_message: bool) -> Obj:
    if obj.setdefault("kind", kind.kind) != kind.kind:
        raise ValueError(f"it is a {obj['kind']}, not a {kind.kind}")
    version = obj.setdefault("apiVersion", kind.storage_api_version)
    if of_message:
        # A kube-apiserver fills in defaults as it reads. What Go's types show as empty, messages
        # leave out.
        kind.strategy.default(obj)
        group, _, name = version.rpartition("/")
        obj = schema_for(group, name, kind.kind).normalise(obj)
    obj["metadata"].pop("resourceVersion", None)
    if version != kind.storage_api_version:
        obj = kind.strategy.convert(obj, kind.storage_api_version)
    return obj
