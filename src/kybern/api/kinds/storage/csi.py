"""CSIDriver, CSINode, CSIStorageCapacity."""

from kybern.api.kinds.kind import Kind
from kybern.api.kinds.strategy import Strategy

CSI_DRIVER = Kind(
    group="storage.k8s.io",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    strategy=Strategy(namespaced=False, allow_unconditional_update=False),
)

CSI_NODE = Kind(
    group="storage.k8s.io",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    strategy=Strategy(namespaced=False, allow_unconditional_update=False),
)

CSI_STORAGE_CAPACITY = Kind(
    group="storage.k8s.io",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    strategy=Strategy(allow_unconditional_update=False),
)
