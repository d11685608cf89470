"""DefaultStorageClass and DefaultIngressClass: who names no class gets the cluster's default."""

from kybern.api.errors import Obj
from kybern.api.resources import STORAGE_CLASSES, Resource
from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

INGRESS_CLASSES = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False)
_DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
_DEFAULT_STORAGE = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_INGRESS_ANNOTATION = "kubernetes.io/ingress.class"
_STORAGE_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


class DefaultStorageClass(Plugin):
    name = "DefaultStorageClass"
    operations = (CREATE,)
    resources = (("", "persistentvolumeclaims"),)

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        claim = attributes.object
        if claim is None or _STORAGE_ANNOTATION in _annotations(claim):
            return
        spec = claim.setdefault("spec", {})
        if spec.get("storageClassName") is None:
            default = _newest(self._lookup.list(STORAGE_CLASSES), _DEFAULT_STORAGE)
            if default:
                spec["storageClassName"] = default


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"
    operations = (CREATE,)
    resources = (("networking.k8s.io", "ingresses"),)

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        ingress = attributes.object
        if ingress is None or _INGRESS_ANNOTATION in _annotations(ingress):
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is None:
            default = _newest(self._lookup.list(INGRESS_CLASSES), _DEFAULT_INGRESS)
            if default:
                spec["ingressClassName"] = default


def _annotations(obj: Obj) -> Obj:
    return obj["metadata"].get("annotations") or {}


def _newest(classes: list[Obj], marks: tuple[str, ...]) -> str:
    """The name of the newest class marked as default; of several of one second, the first."""
    defaults = sorted(
        (c for c in classes if any(_annotations(c).get(mark) == "true" for mark in marks)),
        key=lambda found: str(found["metadata"]["name"]),
    )
    defaults.sort(key=lambda found: found["metadata"].get("creationTimestamp", ""), reverse=True)
    return defaults[0]["metadata"]["name"] if defaults else ""
