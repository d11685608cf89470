"""PersistentVolumeClaim."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

PERSISTENT_VOLUME_CLAIM = Kind(
    group="",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    subresources=(status_of("PersistentVolumeClaim"),),
    strategy=Strategy(status=True),
)
