"""CertificateSigningRequest."""

import base64

from kybern.api.errors import FieldError, Obj, duplicate, invalid_value, not_supported, required
from kybern.api.kinds.columns import AGE, NAME, NONE, at, field, human_duration
from kybern.api.kinds.kind import READ_WRITE, Column, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy, Write
from kybern.api.objects import conditions
from kybern.api.user import UserInfo


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
    """The status subresource may neither approve nor deny."""
    status = new.setdefault("status", {})
    decided = _decisions(old)
    status["conditions"] = decided + [c for c in conditions(new) if c not in decided]
    status["conditions"] = [
        c for c in status["conditions"] if c.get("type") == "Failed" or c in decided
    ] or None
    if status["conditions"] is None:
        del status["conditions"]


def _decisions(request: Obj) -> list[Obj]:
    return [c for c in conditions(request) if c.get("type") in ("Approved", "Denied")]


def _approve(new: Obj, old: Obj) -> None:
    """Approval writes conditions, and leaves the certificate alone."""
    new["spec"] = old["spec"]
    status = new.setdefault("status", {})
    certificate = (old.get("status") or {}).get("certificate")
    if certificate is not None:
        status["certificate"] = certificate
    else:
        status.pop("certificate", None)


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
_PEM_HEADER = b"-----BEGIN CERTIFICATE REQUEST-----"
_SHORTEST = 600


def _check(request: Obj) -> list[FieldError]:
    """The form of a request; whether it is a sound PKCS#10 request is the signer's to say."""
    spec = request.get("spec") or {}
    errors: list[FieldError] = []
    try:
        decoded = base64.b64decode(spec.get("request") or "")
    except ValueError:
        decoded = b""
    if _PEM_HEADER not in decoded:
        text = "PEM block type must be CERTIFICATE REQUEST"
        errors.append(invalid_value("spec.request", spec.get("request") or "", text))
    usages = spec.get("usages") or []
    if not usages:
        errors.append(required("spec.usages"))
    for i, usage in enumerate(usages):
        if usage not in _USAGES:
            errors.append(not_supported(f"spec.usages[{i}]", usage, _USAGES))
        elif usage in usages[:i]:
            errors.append(duplicate(f"spec.usages[{i}]", usage))
    errors += _check_signer(spec.get("signerName", ""))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST:
        text = f"may not specify a duration less than {_SHORTEST} seconds (10 minutes)"
        errors.append(invalid_value("spec.expirationSeconds", seconds, text))
    return errors


def _check_signer(signer: str) -> list[FieldError]:
    if not signer:
        return [required("spec.signerName")]
    domain, slash, rest = signer.partition("/")
    if slash and rest and "." in domain and "/" not in rest:
        return []
    text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
    return [invalid_value("spec.signerName", signer, text)]


def _check_decisions(new: Obj, old: Obj) -> list[FieldError]:
    errors: list[FieldError] = []
    types = [c.get("type", "") for c in conditions(new)]
    if "Approved" in types and "Denied" in types:
        text = "Approved and Denied conditions are mutually exclusive"
        shown = types[-1]
        errors.append(invalid_value("status.conditions", shown, text))
    for i, condition in enumerate(conditions(new)):
        if not condition.get("type"):
            errors.append(required(f"status.conditions[{i}].type"))
        elif condition["type"] in types[:i]:
            errors.append(duplicate(f"status.conditions[{i}].type", condition["type"]))
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
        check=_check,
        checks_all_on_update=False,
        check_status=_check_decisions,
        create=lambda o: o.__setitem__("status", {}),
        update=_update,
        update_status=_update_status,
        record_user=_record_requestor,
        writes={"approval": Write(_approve, _check_decisions)},
        namespaced=False,
        status=True,
    ),
    columns=COLUMNS,
    selectable_fields={"spec.signerName": field("spec", "signerName")},
)
