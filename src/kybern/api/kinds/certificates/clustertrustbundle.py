"""ClusterTrustBundle: certificates of authorities that workloads may trust, by signer or not."""

from cryptography import x509

from kybern.api.errors import FieldError, Obj, invalid_value, too_long
from kybern.api.kinds.columns import NAME, NONE, at, field
from kybern.api.kinds.kind import Column, Kind
from kybern.api.kinds.strategy import Strategy
from kybern.api.validation.metadata import immutable
from kybern.api.validation.names import Messages
from kybern.api.validation.pem import PemBlock, pem_blocks
from kybern.api.validation.signer_names import check_signer_name, trust_bundle_name

MAX_BUNDLE_BYTES = 1024 * 1024
_PATH = "spec.trustBundle"


def _any_name(name: str, prefix: bool) -> Messages:
    """The rule depends on the signer, so :func:`_check` looks at the name."""
    return ()


def _check(bundle: Obj) -> list[FieldError]:
    return [
        *_check_names(bundle),
        *_check_bundle((bundle.get("spec") or {}).get("trustBundle", "")),
    ]


def _check_names(bundle: Obj) -> list[FieldError]:
    name = bundle["metadata"].get("name", "")
    signer = (bundle.get("spec") or {}).get("signerName", "")
    errors = [
        invalid_value("metadata.name", name, text) for text in trust_bundle_name(name, signer)
    ]
    return errors + (check_signer_name(signer) if signer else [])


def _check_update(new: Obj, old: Obj) -> list[FieldError]:
    errors = _check_names(new)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after.get("trustBundle") != before.get("trustBundle"):
        errors += _check_bundle(after.get("trustBundle", ""))
    return errors + immutable(after.get("signerName"), before.get("signerName"), "spec.signerName")


def _check_bundle(text: str) -> list[FieldError]:
    if len(text.encode()) > MAX_BUNDLE_BYTES:
        return [too_long(_PATH, MAX_BUNDLE_BYTES)]
    errors: list[FieldError] = []
    places: dict[bytes, list[int]] = {}
    for i, block in enumerate(pem_blocks(text)):
        problem = _anchor_problem(block)
        if problem:
            errors.append(_bad_bundle(f"entry {i} {problem}"))
        else:
            places.setdefault(block.content, []).append(i)
    if errors:
        return errors
    if not places:
        return [_bad_bundle("at least one trust anchor must be provided")]
    return [
        _bad_bundle(f"duplicate trust anchor (indices [{' '.join(map(str, indexes))}])")
        for indexes in places.values()
        if len(indexes) > 1
    ]


def _bad_bundle(text: str) -> FieldError:
    return invalid_value(_PATH, "<value omitted>", text)


def _anchor_problem(block: PemBlock) -> str:
    if block.type != "CERTIFICATE":
        return f"has bad block type: {block.type}"
    if block.has_headers:
        return "has PEM block headers"
    try:
        certificate = x509.load_der_x509_certificate(block.content)
        extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    except ValueError:
        return "does not parse as X.509"
    return "" if extension.value.ca else "does not have the CA bit set"


CLUSTER_TRUST_BUNDLE = Kind(
    group="certificates.k8s.io",
    kind="ClusterTrustBundle",
    plural="clustertrustbundles",
    versions=("v1beta1", "v1alpha1"),
    namespaced=False,
    deprecations={
        "v1alpha1": "certificates.k8s.io/v1alpha1 ClusterTrustBundle is deprecated in v1.34+, "
        "unavailable in v1.37+"
    },
    strategy=Strategy(
        name_rule=_any_name,
        check=_check,
        check_update=_check_update,
        checks_on_update=0,
        namespaced=False,
        allow_unconditional_update=False,
    ),
    columns=(NAME, Column("SignerName", at("spec", "signerName", default=NONE))),
    selectable_fields={"spec.signerName": field("spec", "signerName")},
)
