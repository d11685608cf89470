"""OwnerReferencesPermissionEnforcement: owners are named by those who could delete, too.

Who changes an object's owners may have it collected, so they must be allowed to delete it. Who
keeps an owner from going away (``blockOwnerDeletion``) must be allowed to set its finalizers.
"""

from collections.abc import Iterator

from kybern.api.errors import Obj
from kybern.api.kinds import Registry
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.request_info import Attributes


class OwnerReferencesPermissionEnforcement(Plugin):
    name = "OwnerReferencesPermissionEnforcement"
    operations = (CREATE, UPDATE)
    subresources = None

    def __init__(self, authorizers: Authorizers, registry: Registry) -> None:
        self._authorizers = authorizers
        self._registry = registry

    async def validate(self, attributes: AdmissionAttributes) -> None:
        # Status updates of pods cannot touch the owners.
        if (attributes.resource, attributes.subresource) == ("pods", "status"):
            return
        owners, before = _owners(attributes.object), _owners(attributes.old_object)
        if owners == before:
            return
        if attributes.operation != CREATE:
            self._may_delete(attributes)
        known = {owner.get("uid"): owner for owner in before}
        blocking = [
            owner
            for owner in owners
            if owner.get("blockOwnerDeletion")
            and not known.get(owner.get("uid"), {}).get("blockOwnerDeletion")
        ]
        if blocking and not self._authorizers.decide(_finalizes_anything(attributes)).allowed:
            for owner in blocking:
                self._may_block(attributes, owner)

    def _may_delete(self, attributes: AdmissionAttributes) -> None:
        info = attributes.info
        decision = self._authorizers.decide(
            Attributes(
                attributes.user,
                "delete",
                group=info.group,
                version=info.version,
                resource=info.resource,
                subresource=info.subresource,
                namespace=attributes.namespace,
                name=attributes.name,
            )
        )
        if not decision.allowed:
            raise attributes.forbid(
                f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>"
            )

    def _may_block(self, attributes: AdmissionAttributes, owner: Obj) -> None:
        asked = list(self._finalizes(attributes, owner))
        if not asked:
            version, kind = owner.get("apiVersion", ""), owner.get("kind", "")
            raise attributes.forbid(
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
                f'APIVersion {version} Kind {kind}: no matches for kind "{kind}" in version '
                f'"{version}"'
            )
        for request in asked:
            decision = self._authorizers.decide(request)
            if not decision.allowed:
                raise attributes.forbid(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you "
                    f"can't set finalizers on: {decision.reason}, <nil>"
                )

    def _finalizes(self, attributes: AdmissionAttributes, owner: Obj) -> Iterator[Attributes]:
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        served = self._registry.by_kind(group, version, owner.get("kind", ""))
        if served is not None:
            yield Attributes(
                attributes.user,
                "update",
                group=group,
                version=version,
                resource=served.kind.plural,
                subresource="finalizers",
                namespace=attributes.namespace if served.kind.namespaced else "",
                name=owner.get("name", ""),
            )


def _finalizes_anything(attributes: AdmissionAttributes) -> Attributes:
    return Attributes(
        attributes.user,
        "update",
        group="*",
        version="*",
        resource="*",
        subresource="finalizers",
        name="*",
    )


def _owners(obj: Obj | None) -> list[Obj]:
    owners: list[Obj] = ((obj or {}).get("metadata") or {}).get("ownerReferences") or []
    return owners
