"""Secret."""

from kybern.api.kinds.kind import Kind

SECRET = Kind(
    group="",
    kind="Secret",
    plural="secrets",
)
