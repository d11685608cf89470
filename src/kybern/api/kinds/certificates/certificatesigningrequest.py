"""CertificateSigningRequest."""

import base64

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from kybern.api.ages import human_duration
from kybern.api.errors import (
    FieldError,
    Obj,
    duplicate,
    field_forbidden,
    invalid_value,
    not_supported,
    required,
)
from kybern.api.kinds.columns import AGE, NAME, NONE, at, field
from kybern.api.kinds.kind import READ_WRITE, Column, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy, Write
from kybern.api.objects import conditions
from kybern.api.user import UserInfo
from kybern.api.validation.names import is_path_segment
from kybern.api.validation.signer_names import check_signer_name


def _record_requestor(request: Obj, user: UserInfo) -> None:
    """Who asks is what the server knows, never what the request claims."""
    spec = request.setdefault("spec", {})
    spec["username"] = user.name
    spec["uid"] = user.uid
    spec["groups"] = list(user.groups)
    spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    for name in ("uid", "groups", "extra"):
        if not spec[name]:
            del spec[name]


def _update(new: Obj, old: Obj) -> None:
    """A request is fixed once it is made."""
    new["spec"] = old["spec"]


def _update_status(new: Obj, old: Obj) -> None:
    """The status subresource writes everything but the decision, whose instances stay as they are.

    Instances that came or went are left for the checks to refuse.
    """
    new["spec"] = old["spec"]
    for decision in _DECISIONS:
        before = _of_type(old, decision)
        places = [i for i, c in enumerate(conditions(new)) if c.get("type") == decision]
        if len(places) == len(before):
            for place, condition in zip(places, before, strict=True):
                new["status"]["conditions"][place] = condition


def _of_type(request: Obj, condition_type: str) -> list[Obj]:
    return [c for c in conditions(request) if c.get("type") == condition_type]


def _approve(new: Obj, old: Obj) -> None:
    """Approval writes conditions, and leaves the certificate alone."""
    new["spec"] = old["spec"]
    status = new.setdefault("status", {})
    certificate = (old.get("status") or {}).get("certificate")
    if certificate is not None:
        status["certificate"] = certificate
    else:
        status.pop("certificate", None)


def _date_conditions(new: Obj, old: Obj, now: str) -> None:
    """Conditions without times get them; a transition that was known before keeps its time."""
    known: dict[tuple[str, str], str] = {}
    for condition in conditions(old):
        if condition.get("lastTransitionTime"):
            state = (condition.get("type", ""), condition.get("status", ""))
            known.setdefault(state, condition["lastTransitionTime"])
    for condition in conditions(new):
        state = (condition.get("type", ""), condition.get("status", ""))
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            condition["lastTransitionTime"] = known.get(state, now)


def _condition(request: Obj, now: float) -> str:
    types = {c.get("type") for c in conditions(request)}
    if "Denied" in types:
        shown = "Denied"
    else:
        shown = "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        shown += ",Failed"
    if (request.get("status") or {}).get("certificate"):
        shown += ",Issued"
    return shown


def _duration(request: Obj, now: float) -> str:
    seconds = (request.get("spec") or {}).get("expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


COLUMNS = (
    NAME,
    AGE,
    Column("SignerName", at("spec", "signerName", default=NONE)),
    Column("Requestor", at("spec", "username")),
    Column("RequestedDuration", _duration),
    Column("Condition", _condition),
)


_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_DECISIONS = ("Approved", "Denied")
_VERDICTS = (*_DECISIONS, "Failed")
_PEM_HEADER = b"-----BEGIN CERTIFICATE REQUEST-----"
_SHORTEST = 600


def _check(request: Obj) -> list[FieldError]:
    spec = request.get("spec") or {}
    errors: list[FieldError] = []
    problem = _pkcs10_problem(base64.b64decode(spec.get("request") or ""))
    if problem:
        errors.append(invalid_value("spec.request", spec.get("request") or "", problem))
    usages = spec.get("usages") or []
    if not usages:
        errors.append(required("spec.usages"))
    for i, usage in enumerate(usages):
        if usage not in _USAGES:
            errors.append(not_supported(f"spec.usages[{i}]", usage, _USAGES))
        elif usage in usages[:i]:
            errors.append(duplicate(f"spec.usages[{i}]", usage))
    errors += check_signer_name(spec.get("signerName", ""))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST:
        text = f"may not specify a duration less than {_SHORTEST} seconds (10 minutes)"
        errors.append(invalid_value("spec.expirationSeconds", seconds, text))
    return errors


def _pkcs10_problem(pem: bytes) -> str:
    """Why a signer could make nothing of the request; empty for a sound one."""
    if _PEM_HEADER not in pem:
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        parsed = x509.load_pem_x509_csr(pem)
    except (ValueError, UnsupportedAlgorithm) as problem:
        return f"x509: malformed certificate request: {problem}"
    return "" if parsed.is_signature_valid else "x509: signature does not match"


def _check_conditions(new: Obj, old: Obj) -> list[FieldError]:
    """The conditions' form, and that no verdict disappears."""
    errors: list[FieldError] = []
    types = [c.get("type", "") for c in conditions(new)]
    for i, condition in enumerate(conditions(new)):
        path = f"status.conditions[{i}]"
        statuses = ("True",) if types[i] in _VERDICTS else ("False", "True", "Unknown")
        if not types[i]:
            errors.append(required(f"{path}.type"))
        if not condition.get("status"):
            errors.append(required(f"{path}.status"))
        elif condition["status"] not in statuses:
            errors.append(not_supported(f"{path}.status", condition["status"], statuses))
        if types[i] in _DECISIONS and any(t in _DECISIONS and t != types[i] for t in types[:i]):
            text = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid_value("status.conditions", types[i], text))
        if types[i] in types[:i]:
            errors.append(duplicate(f"{path}.type", types[i]))
    for verdict in _VERDICTS:
        if len(_of_type(new, verdict)) < len(_of_type(old, verdict)):
            text = f'updates may not remove a condition of type "{verdict}"'
            errors.append(field_forbidden("status.conditions", text))
    return errors


def _check_status(new: Obj, old: Obj) -> list[FieldError]:
    """What the status subresource may do: anything but decide, and issue only once."""
    errors = _check_conditions(new, old)
    for decision in _DECISIONS:
        if len(_of_type(new, decision)) > len(_of_type(old, decision)):
            text = f'updates may not add a condition of type "{decision}"'
            errors.append(field_forbidden("status.conditions", text))
    issued = (old.get("status") or {}).get("certificate")
    if issued and (new.get("status") or {}).get("certificate") != issued:
        text = "updates may not modify existing certificate content"
        errors.append(field_forbidden("status.certificate", text))
    return errors


CERTIFICATE_SIGNING_REQUEST = Kind(
    group="certificates.k8s.io",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    short_names=("csr",),
    subresources=(
        Subresource("approval", "CertificateSigningRequest", READ_WRITE),
        status_of("CertificateSigningRequest"),
    ),
    strategy=Strategy(
        metadata_checks=2,
        status_metadata_checks=2,
        check=_check,
        checks_on_update=0,
        check_status=_check_status,
        create=lambda o: o.__setitem__("status", {}),
        update=_update,
        update_status=_update_status,
        record_user=_record_requestor,
        name_rule=is_path_segment,
        resets={
            "": (("spec",), ("status",)),
            "status": (("spec",), ("status", "conditions")),
            "approval": (("spec",), ("status", "certificate")),
        },
        writes={"approval": Write(_approve, _check_conditions)},
        date=_date_conditions,
        namespaced=False,
        status=True,
    ),
    columns=COLUMNS,
    selectable_fields={"spec.signerName": field("spec", "signerName")},
)
