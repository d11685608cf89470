"""CustomResourceDefinition."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import CREATED_AT, NAME
from kybern.api.kinds.kind import Kind, status_of
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.objects import copy
from kybern.api.validation.custom_resource_definitions import (
    check_definition_update,
    check_new_definition,
)


def _default(crd: Obj) -> None:
    spec = crd.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = f"{kind}List"
    conversion = spec.get("conversion")
    if conversion is None:
        spec["conversion"] = {"strategy": "None"}
    else:
        service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443
    status = crd.get("status") or {}
    if not status.get("storedVersions"):
        stored = [v.get("name", "") for v in spec.get("versions") or () if v.get("storage")]
        if stored:
            crd["status"] = {**status, "storedVersions": stored[:1]}


def _create(crd: Obj) -> None:
    """Until its controller accepts the names, a definition serves nothing."""
    stored = [v["name"] for v in crd["spec"].get("versions") or () if v.get("storage")][:1]
    crd["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    }


def _update(new: Obj, old: Obj) -> None:
    """A version that objects may be stored in stays recorded."""
    status = dict(new.get("status") or {})
    held = list(status.get("storedVersions") or ())
    for version in new["spec"].get("versions") or ():
        if version.get("storage"):
            if version["name"] not in held:
                held.append(version["name"])
            break
    status["storedVersions"] = held
    new["status"] = status


def _read(crd: Obj) -> None:
    """A kube-apiserver still stores definitions as v1beta1, which says once what all versions
    share."""
    spec = crd["spec"]
    shared = {
        field: spec.pop(name)
        for field, name in _SHARED_FIELDS.items()
        if spec.get(name) is not None
    }
    for column in shared.get("additionalPrinterColumns", ()):
        if "JSONPath" in column:
            column["jsonPath"] = column.pop("JSONPath")
    name = spec.pop("version", "")
    versions = spec.setdefault("versions", [{"name": name, "served": True, "storage": True}])
    for version in versions:
        for field, value in shared.items():
            version.setdefault(field, copy(value))
    if not spec.get("preserveUnknownFields"):
        spec.pop("preserveUnknownFields", None)
    conversion = spec.get("conversion") or {}
    webhook = {
        "clientConfig": conversion.pop("webhookClientConfig", None),
        "conversionReviewVersions": conversion.pop("conversionReviewVersions", None),
    }
    if webhook["clientConfig"]:
        conversion["webhook"] = webhook


_SHARED_FIELDS = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


CUSTOM_RESOURCE_DEFINITION = Kind(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=(
        "crd",
        "crds",
    ),
    categories=("api-extensions",),
    subresources=(status_of("CustomResourceDefinition"),),
    resource_prefix="/registry/apiextensions.k8s.io/customresourcedefinitions",
    hashed_as="apiextensions.k8s.io/v1beta1",
    strategy=Strategy(
        any_finalizer=True,
        check=check_new_definition,
        checks_on_update=0,
        check_update=check_definition_update,
        default=_default,
        create=_create,
        update=_update,
        read=_read,
        namespaced=False,
        status=True,
        generation=spec_changed,
        allow_unconditional_update=False,
    ),
    columns=(NAME, CREATED_AT),
)
