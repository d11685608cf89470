"""LimitPodHardAntiAffinityTopology: no pod keeps others out of a whole zone."""

from kybern.api.errors import forbidden
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin

_HOST = "kubernetes.io/hostname"


class LimitPodHardAntiAffinityTopology(Plugin):
    name = "LimitPodHardAntiAffinityTopology"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"),)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        pod = attributes.object
        if pod is None:
            return
        affinity = (pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or []:
            if term.get("topologyKey") != _HOST:
                raise forbidden(
                    "pods",
                    pod["metadata"].get("name", ""),
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                    f"{term.get('topologyKey')} but only key {_HOST} is allowed",
                )
