"""VolumeAttachment."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.storage import (
    check_volume_attachment,
    check_volume_attachment_update,
)

COLUMNS = (
    NAME,
    Column("Attacher", at("spec", "attacher"), format="name"),
    Column("PV", at("spec", "source", "persistentVolumeName")),
    Column("Node", at("spec", "nodeName")),
    Column("Attached", at("status", "attached", default=False), "boolean"),
    AGE,
)


def _create(attachment: Obj) -> None:
    attachment["status"] = {"attached": False}


VOLUME_ATTACHMENT = Kind(
    group="storage.k8s.io",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    subresources=(status_of("VolumeAttachment"),),
    strategy=Strategy(
        create=_create,
        check=check_volume_attachment,
        check_update=check_volume_attachment_update,
        check_status=lambda new, old: check_volume_attachment(new),
        namespaced=False,
        status=True,
        allow_unconditional_update=False,
        resets={"status": (("metadata",), ("spec",))},
    ),
    columns=COLUMNS,
)
