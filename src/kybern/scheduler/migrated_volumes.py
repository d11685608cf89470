"""Volumes of kinds that were built in once and are CSI drivers' now: which driver attaches them.

Upstream's scheduler counts them with the driver's own, for the kinds below without being asked.
"""

from typing import Any

Obj = dict[str, Any]

# By the field of a volume: the driver, and what tells two volumes apart.
_DRIVERS = {
    "awsElasticBlockStore": ("ebs.csi.aws.com", "volumeID"),
    "azureDisk": ("disk.csi.azure.com", "diskURI"),
    "cinder": ("cinder.csi.openstack.org", "volumeID"),
    "gcePersistentDisk": ("pd.csi.storage.gke.io", "pdName"),
    "portworxVolume": ("pxd.portworx.com", "volumeID"),
}
_PROVISIONERS = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
}
MIGRATED = tuple(_DRIVERS)


def attached_as(source: Obj) -> tuple[str, str] | None:
    """The driver and handle of a volume in a pod or of a PersistentVolume's spec; None for kinds
    that no driver has taken over."""
    for kind, (driver, identity) in _DRIVERS.items():
        if kind in source:
            handle = str(source[kind].get(identity, ""))
            if kind == "awsElasticBlockStore":
                # Written as aws://zone/id, too.
                handle = handle.rpartition("/")[2]
            return driver, handle
    return None


def driver_of(provisioner: str) -> str:
    """The driver that provisions for a storage class."""
    return _PROVISIONERS.get(provisioner, provisioner)
