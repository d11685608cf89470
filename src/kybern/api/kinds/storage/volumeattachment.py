"""VolumeAttachment."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

VOLUME_ATTACHMENT = Kind(
    group="storage.k8s.io",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    subresources=(status_of("VolumeAttachment"),),
    strategy=Strategy(namespaced=False, status=True, allow_unconditional_update=False),
)
