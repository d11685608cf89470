"""PodTemplate."""

from kybern.api.kinds.kind import Kind

POD_TEMPLATE = Kind(
    group="",
    kind="PodTemplate",
    plural="podtemplates",
)
