"""Roles and bindings pass the escalation check before they are stored.

Upstream makes this check in the storage of the RBAC kinds; it stands here because it needs what
admission has: the user, the object and the object before it.
"""

from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.authorization.escalation import EscalationCheck

_GROUP = "rbac.authorization.k8s.io"


class RbacEscalation(Plugin):
    name = "RbacEscalation"
    operations = (CREATE, UPDATE)
    resources = (
        (_GROUP, "roles"),
        (_GROUP, "clusterroles"),
        (_GROUP, "rolebindings"),
        (_GROUP, "clusterrolebindings"),
    )

    def __init__(self, check: EscalationCheck) -> None:
        self._check = check

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is not None:
            self._check.check(
                attributes.user,
                attributes.resource,
                attributes.namespace,
                attributes.info.name,
                attributes.object,
                attributes.old_object,
            )
