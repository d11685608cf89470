"""Who may claim devices as an administrator, and who may change which part of a claim's status.

Administrative access to devices is a namespace's to allow, by its label. Changing the allocation
or the reservations of a claim needs the right to ``resourceclaims/binding``; changing the report
about a device needs the right to ``resourceclaims/driver`` for its driver, which a driver's pod may
hold for the devices of its own node only. These are part of the API, not plugins that can be
switched off.
"""

from dataclasses import replace

from kybern.api.errors import FieldError, Obj, StatusError, field_forbidden, invalid
from kybern.api.resources import NAMESPACES
from kybern.api.user import UserInfo
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.authentication.groups import split_service_account
from kybern.apiserver.authorization.authorizer import Authorizers, forbidden_request
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.request_info import Attributes

_GROUP = "resource.k8s.io"
_ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_OWN_NODE, _ANY_NODE = "associated-node:", "arbitrary-node:"
_NODE_NAME = "authentication.kubernetes.io/node-name"


class AdministrativeDevices(Plugin):
    """Judges claims, templates of claims, and allocations."""

    name = "AdministrativeDevices"
    operations = (CREATE, UPDATE)
    resources = ((_GROUP, "resourceclaims"), (_GROUP, "resourceclaimtemplates"))
    subresources = ("", "status")

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, attributes: AdmissionAttributes) -> None:
        path = _administrative(attributes, attributes.object)
        if not path or _administrative(attributes, attributes.old_object):
            return
        namespace = self._lookup.get(NAMESPACES, attributes.namespace) or {"metadata": {}}
        if (namespace["metadata"].get("labels") or {}).get(_ADMIN_LABEL) != "true":
            why = (
                f"admin access to devices requires the `{_ADMIN_LABEL}: true` label on the "
                "containing namespace"
            )
            kind = attributes.kind.kind.kind
            raise invalid(kind, attributes.name, [field_forbidden(path, why)], _GROUP)


class ResourceClaimStatus(Plugin):
    name = "ResourceClaimStatus"
    operations = (UPDATE,)
    resources = ((_GROUP, "resourceclaims"),)
    subresources = ("status",)

    def __init__(self, authorizers: Authorizers) -> None:
        self._authorizers = authorizers

    async def validate(self, attributes: AdmissionAttributes) -> None:
        new = (attributes.object or {}).get("status") or {}
        old = (attributes.old_object or {}).get("status") or {}
        errors = self._binding(attributes, new, old)
        if new.get("allocation"):
            errors += self._reports(attributes, new, old)
        if errors:
            raise invalid("ResourceClaim", attributes.name, errors, _GROUP)

    def _binding(self, attributes: AdmissionAttributes, new: Obj, old: Obj) -> list[FieldError]:
        if all(new.get(field) == old.get(field) for field in ("allocation", "reservedFor")):
            return []
        asked = replace(_asked(attributes), subresource="binding", namespace="", name="")
        refusal = self._refusal(asked)
        if refusal is None:
            return []
        why = (
            "changing status.allocation or status.reservedFor requires "
            f'resource="resourceclaims/binding", verb="{asked.verb}" permission: {refusal.message}'
        )
        return [field_forbidden("status.allocation", why)]

    def _reports(self, attributes: AdmissionAttributes, new: Obj, old: Obj) -> list[FieldError]:
        verb = attributes.info.verb
        verbs = [_ANY_NODE + verb]
        if _on_node(attributes.user, _allocated_node(new["allocation"])):
            verbs.insert(0, _OWN_NODE + verb)
        errors = []
        for driver in _changed_drivers(new, old):
            asked = replace(_asked(attributes), subresource="driver", name=driver)
            refusals = [self._refusal(replace(asked, verb=verb)) for verb in verbs]
            first = refusals[0]
            if first is not None and None not in refusals:
                why = (
                    'changing status.devices requires resource="resourceclaims/driver", '
                    f'verb="[{" ".join(verbs)}]" permission: {first.message}'
                )
                errors.append(field_forbidden("status.devices", why))
        return errors

    def _refusal(self, asked: Attributes) -> StatusError | None:
        decision = self._authorizers.decide(asked)
        return None if decision.allowed else forbidden_request(asked, decision.reason)


def _administrative(attributes: AdmissionAttributes, obj: Obj | None) -> str:
    """The first field that asks for administrative access; empty if none does."""
    if obj is None:
        return ""
    if attributes.subresource:
        allocation = (obj.get("status") or {}).get("allocation") or {}
        results = (allocation.get("devices") or {}).get("results") or []
        for index, result in enumerate(results):
            if result.get("adminAccess"):
                return f"status.allocation.devices.results[{index}].adminAccess"
        return ""
    spec = obj.get("spec") or {}
    if attributes.resource == "resourceclaimtemplates":
        spec = spec.get("spec") or {}
    for index, request in enumerate((spec.get("devices") or {}).get("requests") or []):
        if (request.get("exactly") or {}).get("adminAccess"):
            return f"spec.devices.requests[{index}].adminAccess"
    return ""


def _asked(attributes: AdmissionAttributes) -> Attributes:
    return Attributes.of(attributes.user, attributes.info)


def _on_node(user: UserInfo, node: str) -> bool:
    """Whether the user is an account of a pod on the node."""
    named = user.extra.get(_NODE_NAME)
    return bool(node) and split_service_account(user.name) is not None and named == (node,)


def _allocated_node(allocation: Obj) -> str:
    """The one node that an allocation is tied to by name; empty if it is not."""
    terms = (allocation.get("nodeSelector") or {}).get("nodeSelectorTerms") or []
    if len(terms) != 1 or terms[0].get("matchExpressions"):
        return ""
    fields = terms[0].get("matchFields") or []
    if len(fields) != 1 or (fields[0].get("key"), fields[0].get("operator")) != (
        "metadata.name",
        "In",
    ):
        return ""
    values = fields[0].get("values") or []
    return str(values[0]) if len(values) == 1 else ""


def _changed_drivers(new: Obj, old: Obj) -> list[str]:
    """The drivers whose reports are new, changed or gone."""
    after, before = _reports_by_device(new), _reports_by_device(old)
    changed = {key[0] for key in {**after, **before} if after.get(key) != before.get(key)}
    return sorted(changed)


def _reports_by_device(status: Obj) -> dict[tuple[str, ...], Obj]:
    return {
        tuple(report.get(field, "") for field in ("driver", "pool", "device", "shareID")): report
        for report in status.get("devices") or []
    }
