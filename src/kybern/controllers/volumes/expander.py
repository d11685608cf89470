"""Tells of claims that ask for more than they have, for those who can grow their volumes.

No kind of volume is grown here: a CSI driver's resizer, or Kybern's own local-path provisioner,
watches claims and does it. Upstream's controller does the same for volumes that are not its own.
"""

from kybern.api import objects, volumes
from kybern.api.errors import Obj
from kybern.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kybern.controllers.controller import Context, Controller


class VolumeExpander(Controller):
    """Keyed by claim."""

    name = "persistentvolume-expander-controller"
    account = "expand-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.watch(PERSISTENT_VOLUME_CLAIMS, _asking_for_more)
        self.volumes = self.read(PERSISTENT_VOLUMES)
        self.recorder = context.recorder(self.client, "volume_expand")

    async def reconcile(self, key: str) -> None:
        claim = self.claims.get(key)
        if claim is None or not _asking_for_more(claim):
            return
        volume = self.volumes.get(claim["spec"]["volumeName"])
        reference = (volume or {"spec": {}})["spec"].get("claimRef") or {}
        if volume is None or reference.get("uid") != objects.uid(claim):
            return
        type = "Normal" if "csi" in volume["spec"] else "Warning"
        text = "waiting for an external controller to expand this PVC"
        self.recorder.event(claim, type, "ExternalExpanding", text)


def _asking_for_more(claim: Obj) -> list[str]:
    bound = objects.status(claim).get("phase") == "Bound"
    more = bound and volumes.requested(claim) > volumes.held_capacity(claim)
    return [objects.key(claim)] if more else []
