"""Whether somebody outside will delete a released volume with the policy Delete. Pure.

Volumes of provisioners and of CSI drivers are deleted by those; what an administrator made by hand
has nobody to delete it, and upstream says so in these words.
"""

from kybern.api import objects, volumes
from kybern.api.errors import Obj


def deleter_problem(volume: Obj) -> str:
    """Why nobody will delete the volume, empty if somebody will."""
    provisioner = objects.annotations(volume).get(volumes.PROVISIONED_BY, "")
    if provisioner.startswith("kubernetes.io/"):
        return f"no volume plugin matched name: {provisioner}"
    if provisioner or "csi" in volume["spec"]:
        return ""
    name = objects.name(volume)
    return (
        f'error getting deleter volume plugin for volume "{name}": '
        "no deletable volume plugin matched"
    )
