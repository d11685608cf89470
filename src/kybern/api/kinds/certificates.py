"""CertificateSigningRequest."""

from kybern.api.kinds.kind import READ_WRITE, Kind, Subresource, status_of
from kybern.api.kinds.strategy import Strategy

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
    strategy=Strategy(namespaced=False, status=True),
)
