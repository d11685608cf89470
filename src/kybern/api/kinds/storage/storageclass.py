"""StorageClass, VolumeAttributesClass."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

STORAGE_CLASS = Kind(
    group="storage.k8s.io",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    short_names=("sc",),
    strategy=Strategy(namespaced=False),
)

VOLUME_ATTRIBUTES_CLASS = Kind(
    group="storage.k8s.io",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    short_names=("vac",),
    strategy=Strategy(namespaced=False),
)
