"""NamespaceLifecycle: nothing is created in a namespace that is missing or going away."""

from kybern.api.errors import forbidden, not_found
from kybern.api.resources import NAMESPACES
from kybern.apiserver.admission.attributes import CREATE, DELETE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup

_IMMORTAL = ("default", "kube-public", "kube-system")


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"
    operations = (CREATE, UPDATE, DELETE)
    subresources = None

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if (attributes.group, attributes.resource) == ("", "namespaces"):
            if attributes.operation == DELETE and attributes.name in _IMMORTAL:
                raise forbidden("namespaces", attributes.name, "this namespace may not be deleted")
            return
        namespace = attributes.namespace
        if not namespace or attributes.operation == DELETE:
            return
        if attributes.resource == "localsubjectaccessreviews":
            return
        found = self._lookup.get(NAMESPACES, namespace)
        if found is None:
            raise not_found("namespaces", namespace)
        if attributes.operation != CREATE:
            return
        if (found.get("status") or {}).get("phase") == "Terminating":
            raise _terminating(attributes)


def _terminating(attributes: AdmissionAttributes) -> Exception:
    namespace = attributes.namespace
    error = attributes.forbid(
        f"unable to create new content in namespace {namespace} because it is being terminated"
    )
    assert error.details is not None
    error.details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return error
