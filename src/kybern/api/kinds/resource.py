"""Dynamic resource allocation: device classes, claims, claim templates, slices."""

from kybern.api.errors import Obj
from kybern.api.kinds.columns import AGE, NAME, at, field
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.resource_conversion import (
    convert_claim,
    convert_slice,
    convert_template,
)
from kybern.api.kinds.strategy import Strategy, spec_changed
from kybern.api.validation.device_claims import (
    check_claim,
    check_claim_status,
    check_claim_template,
    check_claim_update,
    check_device_class,
)
from kybern.api.validation.resource_slices import (
    check_slice,
    check_slice_update,
    driver_warnings,
)


def _default_request(request: Obj) -> None:
    if not request.get("allocationMode"):
        request["allocationMode"] = "ExactCount"
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1


def _default_claim_spec(spec: Obj) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        if request.get("exactly") is not None:
            _default_request(request["exactly"])
        elif request.get("deviceClassName"):
            # In v1beta1, a request without alternatives is the exact one itself.
            _default_request(request)
        for alternative in request.get("firstAvailable") or ():
            _default_request(alternative)


def _default_claim(claim: Obj) -> None:
    _default_claim_spec(claim.setdefault("spec", {}))


def _default_template(template: Obj) -> None:
    _default_claim_spec(template.setdefault("spec", {}).setdefault("spec", {}))


def _date_taints(resource_slice: Obj, now: str) -> None:
    """A taint without a time counts from the write that brings it."""
    for device in (resource_slice.get("spec") or {}).get("devices") or ():
        for taint in device.get("taints") or ():
            if taint.get("timeAdded") is None:
                taint["timeAdded"] = now


def _state(claim: Obj, now: float) -> str:
    status = claim.get("status") or {}
    deleting = claim["metadata"].get("deletionTimestamp")
    states = ["deleted"] if deleting else []
    if status.get("allocation"):
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not deleting:
        states.append("pending")
    return ",".join(states)


SLICE_COLUMNS = (
    NAME,
    Column("Node", at("spec", "nodeName")),
    Column("Driver", at("spec", "driver")),
    Column("Pool", at("spec", "pool", "name")),
    AGE,
)


VERSIONS = ("v1", "v1beta2", "v1beta1")


def _deprecations(kind: str) -> dict[str, str]:
    since = {"v1beta2": ("v1.36", "v1.39"), "v1beta1": ("v1.35", "v1.38")}
    return {
        version: f"resource.k8s.io/{version} {kind} is deprecated in {deprecated}+, "
        f"unavailable in {removed}+"
        for version, (deprecated, removed) in since.items()
    }


DEVICE_CLASS = Kind(
    group="resource.k8s.io",
    kind="DeviceClass",
    plural="deviceclasses",
    versions=VERSIONS,
    deprecations=_deprecations("DeviceClass"),
    namespaced=False,
    strategy=Strategy(
        metadata_checks=2, check=check_device_class, namespaced=False, generation=spec_changed
    ),
    columns=(NAME, AGE),
)

RESOURCE_CLAIM = Kind(
    group="resource.k8s.io",
    kind="ResourceClaim",
    plural="resourceclaims",
    versions=VERSIONS,
    deprecations=_deprecations("ResourceClaim"),
    subresources=(status_of("ResourceClaim"),),
    strategy=Strategy(
        metadata_checks=2,
        default=_default_claim,
        convert=convert_claim,
        create=lambda o: o.__setitem__("status", {}),
        check=check_claim,
        checks_on_update=0,
        check_update=check_claim_update,
        check_status=check_claim_status,
        resets={"status": (("metadata",), ("spec",))},
        status=True,
    ),
    columns=(NAME, Column("State", _state), AGE),
)

RESOURCE_CLAIM_TEMPLATE = Kind(
    group="resource.k8s.io",
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    versions=VERSIONS,
    deprecations=_deprecations("ResourceClaimTemplate"),
    strategy=Strategy(
        metadata_checks=2,
        default=_default_template,
        convert=convert_template,
        check=check_claim_template,
        check_update=check_claim_update,
    ),
    columns=(NAME, AGE),
)

RESOURCE_SLICE = Kind(
    group="resource.k8s.io",
    kind="ResourceSlice",
    plural="resourceslices",
    versions=VERSIONS,
    deprecations=_deprecations("ResourceSlice"),
    namespaced=False,
    strategy=Strategy(
        stamp=_date_taints,
        convert=convert_slice,
        check=check_slice,
        check_update=check_slice_update,
        warnings=driver_warnings,
        namespaced=False,
        generation=spec_changed,
    ),
    columns=SLICE_COLUMNS,
    unselectable="field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {name}",
    selectable_fields={
        "spec.nodeName": field("spec", "nodeName"),
        "spec.driver": field("spec", "driver"),
    },
)
