"""CertificateSigningRequest."""

from kybern.api.errors import Obj
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
        create=lambda o: o.__setitem__("status", {}),
        update=_update,
        update_status=_update_status,
        record_user=_record_requestor,
        writes={"approval": Write(_approve)},
        namespaced=False,
        status=True,
    ),
    columns=COLUMNS,
    selectable_fields={"spec.signerName": field("spec", "signerName")},
)
