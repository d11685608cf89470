"""ResourceQuota."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

RESOURCE_QUOTA = Kind(
    group="",
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    subresources=(status_of("ResourceQuota"),),
    strategy=Strategy(status=True),
)
