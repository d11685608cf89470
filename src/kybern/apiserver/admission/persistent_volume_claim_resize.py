"""PersistentVolumeClaimResize: claims grow only where their storage class can grow them."""

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.api.resources import STORAGE_CLASSES
from kybern.apiserver.admission.attributes import UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


class PersistentVolumeClaimResize(Plugin):
    name = "PersistentVolumeClaimResize"
    operations = (UPDATE,)
    resources = (("", "persistentvolumeclaims"),)

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, attributes: AdmissionAttributes) -> None:
        claim, old = attributes.object, attributes.old_object
        if claim is None or old is None or _size(claim) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise attributes.forbid("Only bound persistent volume claims can be expanded")
        name = _class(claim)
        found = self._lookup.get(STORAGE_CLASSES, name) if name and name == _class(old) else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise attributes.forbid(
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )


def _size(claim: Obj) -> Quantity:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return Quantity.parse(requests.get("storage", "0"))


def _class(claim: Obj) -> str:
    annotations = claim["metadata"].get("annotations") or {}
    name: str = annotations.get(_CLASS_ANNOTATION) or claim["spec"].get("storageClassName") or ""
    return name
