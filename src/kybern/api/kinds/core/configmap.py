"""ConfigMap."""

from kybern.api.kinds.kind import Kind

CONFIG_MAP = Kind(
    group="",
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
)
