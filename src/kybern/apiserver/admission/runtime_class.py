"""RuntimeClass: a pod takes over the overhead and the placement of its runtime class."""

from kybern.api.errors import Obj
from kybern.api.quantity import Quantity
from kybern.api.resources import RUNTIME_CLASSES
from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
_UNKNOWN = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    operations = (CREATE,)
    resources = (("", "pods"),)

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        found = self._class_of(attributes)
        if found is None or attributes.object is None:
            return
        spec = attributes.object["spec"]
        fixed = (found.get("overhead") or {}).get("podFixed")
        if "overhead" in found:
            if spec.get("overhead") and not _equal(fixed, spec["overhead"]):
                raise attributes.forbid(_MISMATCH)
            if fixed:
                spec["overhead"] = dict(fixed)
        if "scheduling" in found:
            _place(attributes, spec, found["scheduling"])

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        found = self._class_of(attributes)
        overhead = attributes.object["spec"].get("overhead")
        if found is not None and "overhead" in found:
            if not _equal(found["overhead"].get("podFixed"), overhead):
                raise attributes.forbid(_MISMATCH)
        elif overhead is not None:
            raise attributes.forbid(_UNKNOWN)

    def _class_of(self, attributes: AdmissionAttributes) -> Obj | None:
        name = ((attributes.object or {}).get("spec") or {}).get("runtimeClassName")
        if name is None:
            return None
        found = self._lookup.get(RUNTIME_CLASSES, name)
        if found is None:
            raise attributes.forbid(f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _equal(one: Obj | None, other: Obj | None) -> bool:
    one, other = one or {}, other or {}
    return one.keys() == other.keys() and all(
        Quantity.parse(value) == Quantity.parse(other[name]) for name, value in one.items()
    )


def _place(attributes: AdmissionAttributes, spec: Obj, scheduling: Obj) -> None:
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.get(key, value) != value:
            raise attributes.forbid(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
        selector[key] = value
    if selector:
        spec["nodeSelector"] = selector
    tolerations = list(spec.get("tolerations") or [])
    tolerations += [t for t in scheduling.get("tolerations") or [] if t not in tolerations]
    if tolerations:
        spec["tolerations"] = tolerations
