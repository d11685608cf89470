"""HorizontalPodAutoscaler."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

HORIZONTAL_POD_AUTOSCALER = Kind(
    group="autoscaling",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    versions=("v2", "v1"),
    short_names=("hpa",),
    categories=("all",),
    subresources=(status_of("HorizontalPodAutoscaler"),),
    strategy=Strategy(status=True),
)
