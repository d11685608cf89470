"""What every kind's objects look like: decoding, checking, normalising, and publishing it.

``type_schema`` is the door; behind it, ``body`` parses, ``normalise`` is the fast path, ``check``
explains what is wrong, and ``builtin`` and ``structural`` build the type graph of ``types`` that
all of them walk. ``openapi_v2`` and ``openapi_v3`` publish the same definitions to clients.
"""

from kybern.api.schema.type_schema import Decoded, TypeSchema, schema_for

__all__ = ["Decoded", "TypeSchema", "schema_for"]
