"""AlwaysAdmit and AlwaysDeny, for trying things out."""

from kybern.apiserver.admission.attributes import (
    CONNECT,
    CREATE,
    DELETE,
    UPDATE,
    AdmissionAttributes,
)
from kybern.apiserver.admission.plugin import Plugin

_EVERYTHING = (CREATE, UPDATE, DELETE, CONNECT)


class AlwaysAdmit(Plugin):
    """Has no objection to anything."""

    name = "AlwaysAdmit"
    operations = _EVERYTHING


class AlwaysDeny(Plugin):
    name = "AlwaysDeny"
    operations = _EVERYTHING
    subresources = None

    async def admit(self, attributes: AdmissionAttributes) -> None:
        raise attributes.forbid("admission control is denying all modifications")

    async def validate(self, attributes: AdmissionAttributes) -> None:
        raise attributes.forbid("admission control is denying all modifications")
