"""NamespaceExists: nothing is written in a namespace that is not there."""

from kybern.api.errors import not_found
from kybern.api.resources import NAMESPACES
from kybern.apiserver.admission.attributes import CREATE, DELETE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup


class NamespaceExists(Plugin):
    """Unlike NamespaceLifecycle it judges deletions too."""

    name = "NamespaceExists"
    operations = (CREATE, UPDATE, DELETE)
    subresources = None

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, attributes: AdmissionAttributes) -> None:
        namespace = attributes.namespace
        if namespace and self._lookup.get(NAMESPACES, namespace) is None:
            raise not_found("namespaces", namespace)
