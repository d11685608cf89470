"""PersistentVolume."""

from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy

PERSISTENT_VOLUME = Kind(
    group="",
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    subresources=(status_of("PersistentVolume"),),
    strategy=Strategy(namespaced=False, status=True),
)
