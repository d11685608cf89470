"""PodCertificateRequest: a node asks for a certificate for one of its pods.

The request is fixed once it is made; a signer writes the status, once, as issued, denied or failed.
"""

from kybern.api.errors import (
    FieldError,
    Obj,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from kybern.api.kinds.certificates.pod_certificates import (
    check_issued,
    check_key_proof,
    omitted_value,
)
from kybern.api.kinds.columns import NAME, at, field, label_map
from kybern.api.kinds.kind import Column, Kind, status_of
from kybern.api.kinds.strategy import Strategy
from kybern.api.objects import conditions
from kybern.api.validation.conditions import conditions as check_conditions
from kybern.api.validation.fields import dns_subdomain
from kybern.api.validation.metadata import immutable, user_annotations
from kybern.api.validation.signer_names import check_signer_name, is_kubernetes_signer

VERDICTS = ("Issued", "Denied", "Failed")
_DAY = 24 * 60 * 60
_SHORTEST = 60 * 60
_LONGEST = 91 * _DAY
_MAX_UID = 128


def _default(request: Obj) -> None:
    spec = request.setdefault("spec", {})
    if spec.get("maxExpirationSeconds") is None:
        spec["maxExpirationSeconds"] = _DAY


def _check(request: Obj) -> list[FieldError]:
    spec = request.get("spec") or {}
    signer = spec.get("signerName", "")
    errors = check_signer_name(signer)
    if spec.get("unverifiedUserAnnotations"):
        errors += user_annotations(
            spec["unverifiedUserAnnotations"], "spec.unverifiedUserAnnotations"
        )
    for what in ("pod", "serviceAccount", "node"):
        errors += dns_subdomain(spec.get(f"{what}Name", ""), f"spec.{what}Name")
        errors += _check_uid(spec.get(f"{what}UID", ""), f"spec.{what}UID")
    path, seconds = "spec.maxExpirationSeconds", spec.get("maxExpirationSeconds")
    if seconds is None:
        return [*errors, required(path, "must be set")]
    longest = _DAY if is_kubernetes_signer(signer) else _LONGEST
    if not _SHORTEST <= seconds <= longest:
        text = f"must be in the range [{_SHORTEST}, {longest}]"
        errors.append(invalid_value(path, seconds, text))
    return errors + check_key_proof(spec)


def _check_uid(uid: str, path: str) -> list[FieldError]:
    if not uid:
        return [invalid_value(path, uid, "must not be empty")]
    return [too_long(path, _MAX_UID)] if len(uid) > _MAX_UID else []


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    return immutable(new.get("spec"), old.get("spec"), "spec")


def _verdict(request: Obj) -> str:
    return next((c["type"] for c in conditions(request) if c.get("type") in VERDICTS), "")


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    held = conditions(new)
    errors = _check_verdicts(held) + check_conditions(held, "status.conditions")
    if errors:
        return errors
    status, before = new.get("status") or {}, old.get("status") or {}
    verdict = _verdict(new)
    if _verdict(old):
        text = "immutable after PodCertificateRequest is issued, denied, or failed"
        return _unless(status == before, text)
    if verdict == "Issued":
        return check_issued(new["spec"], status)
    if verdict:
        text = "non-condition status fields must be empty when denying or failing the "
        return _unless(set(status) <= {"conditions"}, text + "PodCertificateRequest")
    text = 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"'
    return _unless(status == before, text)


def _unless(sound: bool, text: str) -> list[FieldError]:
    """An error of the whole status, whose value it keeps to itself."""
    return [] if sound else [omitted_value("status", text)]


def _check_verdicts(held: list[Obj]) -> list[FieldError]:
    errors: list[FieldError] = []
    known = 0
    for i, condition in enumerate(held):
        # Upstream writes this path with a dot of its own.
        path, kind = f"status.conditions.[{i}]", condition.get("type", "")
        if kind not in VERDICTS:
            errors.append(not_supported(f"{path}.type", kind, VERDICTS))
            continue
        known += 1
        if known > 1:
            text = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            errors.append(invalid_value(f"{path}.type", kind, text))
        if condition.get("status") != "True":
            errors.append(not_supported(f"{path}.status", condition.get("status", ""), ("True",)))
    return errors


def _state(request: Obj, now: float) -> str:
    return _verdict(request) or "Pending"


def _annotations(request: Obj, now: float) -> str:
    return label_map((request.get("spec") or {}).get("unverifiedUserAnnotations"))


POD_CERTIFICATE_REQUEST = Kind(
    group="certificates.k8s.io",
    kind="PodCertificateRequest",
    plural="podcertificaterequests",
    versions=("v1beta1",),
    subresources=(status_of("PodCertificateRequest"),),
    strategy=Strategy(
        default=_default,
        create=lambda o: o.__setitem__("status", {}),
        check=_check,
        check_update=_check_update,
        checks_on_update=0,
        check_status=_check_status,
        status=True,
        resets={"status": (("spec",),)},
        allow_unconditional_update=False,
    ),
    columns=(
        NAME,
        Column("PodName", at("spec", "podName")),
        Column("ServiceAccountName", at("spec", "serviceAccountName")),
        Column("NodeName", at("spec", "nodeName")),
        Column("SignerName", at("spec", "signerName")),
        Column("State", _state),
        Column("UnverifiedUserAnnotations", _annotations, priority=1),
    ),
    selectable_fields={
        "spec.signerName": field("spec", "signerName"),
        "spec.podName": field("spec", "podName"),
        "spec.nodeName": field("spec", "nodeName"),
    },
)
