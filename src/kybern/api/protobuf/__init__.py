"""``application/vnd.kubernetes.protobuf``: the form in which Go clients send built-in kinds.

``field_numbers.txt`` is the table of messages; ``decode.py`` reads bodies by it.
"""

from kybern.api.protobuf.decode import MalformedProtobuf, decode

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

__all__ = ["MEDIA_TYPE", "MalformedProtobuf", "decode"]
