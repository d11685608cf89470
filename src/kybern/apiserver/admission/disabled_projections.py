"""Sources of projected volumes whose feature gate is off are dropped from what is written.

This is part of the API, not a plugin that can be switched off: a server without a feature takes the
manifests of one that has it. What had such a source before may keep it.
"""

from collections.abc import Collection

from kybern.api.errors import Obj
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.admission.pod_templates import WITH_TEMPLATES, pod_template

_GATES = {
    "clusterTrustBundle": "ClusterTrustBundleProjection",
    "podCertificate": "PodCertificateRequest",
}


class DisabledProjections(Plugin):
    """``gates`` are the feature gates that are on."""

    name = "DisabledProjections"
    operations = (CREATE, UPDATE)
    resources = (("", "pods"), *WITH_TEMPLATES)

    def __init__(self, gates: Collection[str]) -> None:
        self._disabled = [source for source, gate in _GATES.items() if gate not in gates]

    async def admit(self, attributes: AdmissionAttributes) -> None:
        sources = _sources(attributes.resource, attributes.object)
        if not sources:
            return
        before = _sources(attributes.resource, attributes.old_object)
        for kind in self._disabled:
            if not any(kind in source for source in before):
                for source in sources:
                    source.pop(kind, None)


def _sources(resource: str, obj: Obj | None) -> list[Obj]:
    """The sources of all projected volumes of a pod, or of a template's pods."""
    pod = obj if obj is None or resource == "pods" else pod_template(resource, obj)
    volumes = ((pod or {}).get("spec") or {}).get("volumes") or ()
    projected = [volume.get("projected") or {} for volume in volumes]
    return [source for one in projected for source in one.get("sources") or ()]
