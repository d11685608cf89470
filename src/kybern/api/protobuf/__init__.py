"""``application/vnd.kubernetes.protobuf``: the form in which Go clients speak of built-in kinds.

``field_numbers.txt`` is the table of messages; ``decode.py`` reads bodies by it and ``encode.py``
writes answers.
"""

from kybern.api.protobuf.decode import MalformedProtobuf, decode
from kybern.api.protobuf.encode import (
    encode,
    envelope,
    list_message,
    message,
    watch_events,
    watch_frame,
)
from kybern.api.protobuf.table import has_form

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

__all__ = [
    "MEDIA_TYPE",
    "MalformedProtobuf",
    "decode",
    "encode",
    "envelope",
    "has_form",
    "list_message",
    "message",
    "watch_events",
    "watch_frame",
]
