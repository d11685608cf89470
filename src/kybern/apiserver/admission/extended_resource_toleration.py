"""ExtendedResourceToleration: who asks for a device tolerates the taint that reserves its nodes."""

from kybern.api.errors import Obj
from kybern.api.validation.resources import is_extended
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin


class ExtendedResourceToleration(Plugin):
    name = "ExtendedResourceToleration"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"),)

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        spec = attributes.object["spec"]
        tolerations: list[Obj] = list(spec.get("tolerations") or [])
        for name in _extended(spec):
            wanted = {"key": name, "operator": "Exists", "effect": "NoSchedule"}
            if not any(_covers(toleration, wanted) for toleration in tolerations):
                tolerations.append(wanted)
        if tolerations:
            spec["tolerations"] = tolerations


def _extended(spec: Obj) -> list[str]:
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    requests = [(c.get("resources") or {}).get("requests") or {} for c in containers]
    return sorted({name for asked in requests for name in asked if is_extended(name)})


def _covers(toleration: Obj, wanted: Obj) -> bool:
    fields = ("key", "operator", "effect", "value", "tolerationSeconds")
    return all(toleration.get(field) == wanted.get(field) for field in fields)
