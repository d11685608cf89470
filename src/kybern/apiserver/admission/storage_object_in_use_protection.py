"""StorageObjectInUseProtection: finalizers keep claims and volumes until nobody uses them."""

from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin

_FINALIZERS = {
    "persistentvolumes": "kubernetes.io/pv-protection",
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "volumeattributesclasses": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Plugin):
    name = "StorageObjectInUseProtection"
    operations = (CREATE,)
    resources = (
        ("", "persistentvolumes"),
        ("", "persistentvolumeclaims"),
        ("storage.k8s.io", "volumeattributesclasses"),
    )

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        metadata = attributes.object["metadata"]
        finalizer = _FINALIZERS[attributes.resource]
        finalizers = metadata.get("finalizers") or []
        if finalizer not in finalizers:
            metadata["finalizers"] = [*finalizers, finalizer]
