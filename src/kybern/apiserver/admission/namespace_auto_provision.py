"""NamespaceAutoProvision: a namespace comes into being with the first object created in it."""

from kybern.api.errors import StatusError
from kybern.api.resources import NAMESPACES
from kybern.apiserver.admission.attributes import CREATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback


class NamespaceAutoProvision(Plugin):
    name = "NamespaceAutoProvision"
    operations = (CREATE,)
    subresources = None

    def __init__(self, lookup: Lookup, loopback: Loopback) -> None:
        self._lookup = lookup
        self._loopback = loopback

    async def admit(self, attributes: AdmissionAttributes) -> None:
        namespace = attributes.namespace
        if attributes.dry_run or not namespace:
            return
        if self._lookup.get(NAMESPACES, namespace) is not None:
            return
        try:
            await self._loopback.ensure(NAMESPACES, {"metadata": {"name": namespace}})
        except StatusError as error:
            raise attributes.forbid(error.message) from error
