"""CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest.

Who approves, signs or attests must be allowed to do so for the signer; nobody gets a client
certificate for system:masters by way of a request.
"""

import base64

from cryptography import x509
from cryptography.x509.oid import NameOID

from kybern.api.errors import Obj
from kybern.api.user import MASTERS_GROUP, UserInfo
from kybern.apiserver.admission.attributes import CREATE, UPDATE, AdmissionAttributes
from kybern.apiserver.admission.plugin import Plugin
from kybern.apiserver.authorization.authorizer import Authorizers
from kybern.apiserver.authorization.escalation import only_for_collection
from kybern.apiserver.request_info import Attributes

_GROUP = "certificates.k8s.io"
_REQUESTS = ((_GROUP, "certificatesigningrequests"),)
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateApproval(Plugin):
    name = "CertificateApproval"
    operations = (UPDATE,)
    resources = _REQUESTS
    subresources = ("approval",)

    def __init__(self, authorizers: Authorizers) -> None:
        self._authorizers = authorizers

    async def validate(self, attributes: AdmissionAttributes) -> None:
        signer = _signer(attributes.old_object)
        if not may_use_signer(self._authorizers, attributes.user, "approve", signer):
            raise attributes.forbid(
                f'user not permitted to approve requests with signerName "{signer}"'
            )


class CertificateSigning(Plugin):
    name = "CertificateSigning"
    operations = (UPDATE,)
    resources = _REQUESTS
    subresources = ("status",)

    def __init__(self, authorizers: Authorizers) -> None:
        self._authorizers = authorizers

    async def validate(self, attributes: AdmissionAttributes) -> None:
        old = (attributes.old_object or {}).get("status") or {}
        new = (attributes.object or {}).get("status") or {}
        if all(old.get(field) == new.get(field) for field in ("certificate", "conditions")):
            return
        signer = _signer(attributes.old_object)
        if not may_use_signer(self._authorizers, attributes.user, "sign", signer):
            raise attributes.forbid(
                f'user not permitted to sign requests with signerName "{signer}"'
            )


class CertificateSubjectRestriction(Plugin):
    name = "CertificateSubjectRestriction"
    operations = (CREATE,)
    resources = _REQUESTS

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.object is None or _signer(attributes.object) != _CLIENT_SIGNER:
            return
        try:
            subject = parse_request(attributes.object).subject
        except ValueError as failure:
            raise attributes.forbid(f"failed to parse CSR: {failure}") from failure
        groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        if any(group.value == MASTERS_GROUP for group in groups):
            raise attributes.forbid(
                f"use of {_CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed"
            )


class ClusterTrustBundleAttest(Plugin):
    name = "ClusterTrustBundleAttest"
    operations = (CREATE, UPDATE)
    resources = ((_GROUP, "clustertrustbundles"),)

    def __init__(self, authorizers: Authorizers) -> None:
        self._authorizers = authorizers

    async def validate(self, attributes: AdmissionAttributes) -> None:
        signer = _signer(attributes.object)
        old = attributes.old_object
        if not signer or (old is not None and only_for_collection(attributes.object or {}, old)):
            return
        if not may_use_signer(self._authorizers, attributes.user, "attest", signer):
            raise attributes.forbid(f'user not permitted to attest for signerName "{signer}"')


def parse_request(request: Obj) -> x509.CertificateSigningRequest:
    """The PKCS#10 request inside the object; raises ValueError."""
    # binascii's errors are ValueErrors.
    return x509.load_pem_x509_csr(base64.b64decode(request["spec"].get("request", "")))


def _signer(request: Obj | None) -> str:
    signer: str = ((request or {}).get("spec") or {}).get("signerName", "")
    return signer


def may_use_signer(authorizers: Authorizers, user: UserInfo, verb: str, signer: str) -> bool:
    """Whether the user may use the signer, by its name or by its domain."""
    names = (signer, signer.partition("/")[0] + "/*")
    return any(
        authorizers.decide(
            Attributes(user, verb, group=_GROUP, version="*", resource="signers", name=name)
        ).allowed
        for name in names
    )
