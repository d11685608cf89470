"""TaintNodesByCondition: a node starts out as not ready, until its controller has seen it."""

from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin

_KEY = "node.kubernetes.io/not-ready"
_EFFECT = "NoSchedule"


class TaintNodesByCondition(Plugin):
    name = "TaintNodesByCondition"
    operations = (CREATE,)
    resources = (("", "nodes"),)

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None:
            return
        spec = attributes.object.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(t.get("key") == _KEY and t.get("effect") == _EFFECT for t in taints):
            spec["taints"] = [*taints, {"key": _KEY, "effect": _EFFECT}]
