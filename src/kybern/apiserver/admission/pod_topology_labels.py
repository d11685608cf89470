"""PodTopologyLabels: a pod carries the zone and the region of the node that it is bound to."""

from kybern.api.errors import Obj
from kybern.api.resources import NODES
from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_COPIED = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """The labels of a Binding become the pod's when it is bound."""

    name = "PodTopologyLabels"
    operations = (CREATE,)
    resources = (("", "pods"),)
    subresources = ("", "binding")

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        obj = attributes.object
        if obj is None:
            return
        node = self._lookup.get(NODES, _node_name(attributes.subresource, obj))
        labels = ((node or {}).get("metadata") or {}).get("labels") or {}
        copied = {key: labels[key] for key in _COPIED if key in labels}
        if copied:
            obj["metadata"]["labels"] = {**(obj["metadata"].get("labels") or {}), **copied}


def _node_name(subresource: str, obj: Obj) -> str:
    if subresource == "binding":
        target = obj.get("target") or {}
        return str(target.get("name", "")) if target.get("kind") == "Node" else ""
    return str(obj["spec"].get("nodeName", ""))
