"""The kinds of volumes that have to be mounted, put together for one node."""

from kybern.component.clock import Clock
from kybern.kubelet.objects import Objects
from kybern.kubelet.paths import Paths
from kybern.kubelet.volumes.csi.attachments import Attachments
from kybern.kubelet.volumes.csi.drivers import Drivers
from kybern.kubelet.volumes.csi.record import Places
from kybern.kubelet.volumes.csi.volumes import CsiVolumes
from kybern.kubelet.volumes.local import LocalVolumes
from kybern.kubelet.volumes.nfs import NfsVolumes
from kybern.kubelet.volumes.tokens import Tokens
from kybern.kubelet.volumes.use import Plugin


def make_plugins(
    paths: Paths,
    objects: Objects,
    tokens: Tokens,
    clock: Clock,
    node: str,
    drivers: Drivers | None,
) -> dict[str, Plugin]:
    """Plugins by the source that they serve; without ``drivers`` there is no CSI."""
    plugins: dict[str, Plugin] = {"local": LocalVolumes(paths), "nfs": NfsVolumes()}
    if drivers is not None:
        places = Places(paths)
        attachments = Attachments(objects, places, node)
        csi = CsiVolumes(drivers, objects, tokens, attachments, places, clock)
        drivers.on_registered = csi.undo_unused
        plugins["csi"] = csi
    return plugins
