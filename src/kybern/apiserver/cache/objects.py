"""One stored object at one revision: bytes first, parsed and encoded only on demand.

The store's payload holds no resourceVersion, because it is unknown before the commit; here it is
spliced in behind ``"metadata":{``. What can be derived again (the parsed dict, the encodings) is
kept within a budget of bytes shared by all caches of a process, and evicted second-chance: what
was not used since its last turn goes first.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import orjson

from kybern.api.errors import Obj

DERIVED_BYTES = 96 * 1024 * 1024

# A parsed object takes about this many times the memory of its JSON text.
PARSED_RATIO = 7

_METADATA = b'"metadata":{'


def encode_payload(obj: Obj) -> bytes:
    """The bytes to store: without resourceVersion, and with metadata before any free text.

    Only the strings of ``kind`` and ``apiVersion`` come before ``metadata``, so the first
    ``"metadata":{`` of the payload is the object's own.
    """
    metadata = obj["metadata"]
    if "resourceVersion" in metadata:
        metadata = {name: value for name, value in metadata.items() if name != "resourceVersion"}
    return orjson.dumps(
        {"kind": obj.get("kind"), "apiVersion": obj.get("apiVersion"), "metadata": metadata}
        | {name: value for name, value in obj.items() if name not in _LEADING}
    )


_LEADING = frozenset(("kind", "apiVersion", "metadata"))


def with_resource_version(payload: bytes, revision: int) -> bytes:
    """The JSON text of a payload of :func:`encode_payload`, its resourceVersion filled in."""
    at = payload.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (payload[:at], revision, payload[at:])


class DerivedBudget:
    """Bounds the bytes of everything that objects derive from their payloads."""

    def __init__(self, max_bytes: int = DERIVED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._queue: deque[CachedObject] = deque()

    @property
    def used(self) -> int:
        return self._bytes

    def charge(self, cached: "CachedObject", size: int) -> None:
        """Account for something that ``cached`` has just derived and keeps."""
        if not cached.derived_bytes:
            self._queue.append(cached)
        cached.derived_bytes += size
        self._bytes += size
        while self._bytes > self._max_bytes and self._queue:
            self._evict_one()

    def _evict_one(self) -> None:
        oldest = self._queue.popleft()
        if oldest.used:
            oldest.used = False
            self._queue.append(oldest)
            return
        self._bytes -= oldest.derived_bytes
        oldest.forget_derived()


class CachedObject:
    """An object as of ``mod_revision``. READ ONLY, the parsed dict included."""

    __slots__ = (
        "_budget",
        "_encoded",
        "_obj",
        "derived_bytes",
        "fields",
        "key",
        "labels",
        "mod_revision",
        "payload",
        "used",
    )

    def __init__(
        self,
        key: str,
        payload: bytes,
        mod_revision: int,
        labels: Mapping[str, str],
        fields: Mapping[str, str],
        budget: DerivedBudget,
    ) -> None:
        self.key = key
        self.payload = payload
        self.mod_revision = mod_revision
        self.labels = labels
        self.fields = fields
        self.derived_bytes = 0
        self.used = False
        self._budget = budget
        self._obj: Obj | None = None
        self._encoded: dict[Hashable, bytes] | None = None

    @property
    def obj(self) -> Obj:
        """The parsed object with its resourceVersion; shared, so never change it."""
        self.used = True
        obj = self._obj
        if obj is None:
            obj = orjson.loads(self.payload)
            self.keep_parsed(obj)
        return obj

    def keep_parsed(self, obj: Obj) -> None:
        """Take over a dict that equals the payload; its resourceVersion is set here."""
        obj["metadata"]["resourceVersion"] = str(self.mod_revision)
        self._obj = obj
        self._budget.charge(self, PARSED_RATIO * len(self.payload))

    def json(self) -> bytes:
        """The JSON text in the storage version, resourceVersion included."""
        return self.encoded(None, _storage_json)

    def encoded(self, form: Hashable, encode: Callable[["CachedObject"], bytes]) -> bytes:
        """The object in another form (say, a version and media type), made once and kept."""
        self.used = True
        if self._encoded is None:
            self._encoded = {}
        found = self._encoded.get(form)
        if found is None:
            found = self._encoded[form] = encode(self)
            self._budget.charge(self, len(found))
        return found

    def at_revision(self, revision: int) -> "CachedObject":
        """The same content under another resourceVersion, as the last state in a deletion."""
        return CachedObject(
            self.key, self.payload, revision, self.labels, self.fields, self._budget
        )

    def forget_derived(self) -> None:
        """Drop everything that the payload can give again; called by the budget only."""
        self.derived_bytes = 0
        self._obj = None
        self._encoded = None


def _storage_json(cached: CachedObject) -> bytes:
    return with_resource_version(cached.payload, cached.mod_revision)


FieldReaders = Mapping[str, Callable[[Obj], str]]

_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError)


def selectable(obj: Obj, readers: FieldReaders) -> tuple[dict[str, str], dict[str, str]]:
    """The labels and the selectable fields of an object."""
    metadata: dict[str, Any] = obj["metadata"]
    try:
        fields = {name: read(obj) for name, read in readers.items()}
    except _UNREADABLE:
        fields = {name: _field(read, obj) for name, read in readers.items()}
    fields["metadata.name"] = metadata.get("name", "")
    fields["metadata.namespace"] = metadata.get("namespace", "")
    return metadata.get("labels") or {}, fields


def _field(read: Callable[[Obj], str], obj: Obj) -> str:
    """One selectable field; empty in an object that is older than today's validation."""
    try:
        return read(obj)
    except _UNREADABLE:
        return ""
