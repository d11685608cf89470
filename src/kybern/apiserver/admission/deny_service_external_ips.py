"""DenyServiceExternalIPs: no Service claims addresses that the cluster does not hand out."""

from kybern.api.errors import Obj
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin


class DenyServiceExternalIPs(Plugin):
    """Addresses that a Service has already stay."""

    name = "DenyServiceExternalIPs"
    operations = (CREATE, UPDATE)
    resources = (("", "services"),)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if _external(attributes.object) - _external(attributes.old_object):
            raise attributes.forbid("Use of external IPs is denied by admission control")


def _external(service: Obj | None) -> set[str]:
    return set(((service or {}).get("spec") or {}).get("externalIPs") or [])
