"""Names of signers: a domain and a path, such as ``kubernetes.io/kubelet-serving``.

The name of a ClusterTrustBundle begins with its signer's, if it has one.
"""

from collections.abc import Callable, Iterable

from kybern.api.errors import FieldError, invalid_value, required, too_long
from kybern.api.validation.names import (
    Messages,
    dns_subdomain,
    is_dns1123_label,
    is_dns1123_subdomain,
)

_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_MAX_DOMAIN = 253
# A path has room for a label, a dot and a subdomain.
_MAX_NAME = _MAX_DOMAIN + 1 + 63 + 1 + 253


def check_signer_name(signer: str, path: str = "spec.signerName") -> list[FieldError]:
    """Errors of the name of a signer, which must be there."""
    if not signer:
        return [required(path)]
    if signer.count("/") != 1:
        return [invalid_value(path, signer, _FORM)]
    domain, _, rest = signer.partition("/")
    errors = [too_long(path, _MAX_DOMAIN)] if len(domain) > _MAX_DOMAIN else []
    errors += _labels(domain, is_dns1123_label, path)
    if "." not in domain:
        text = "should be a domain with at least two segments separated by dots"
        errors.append(invalid_value(path, domain, text))
    errors += _labels(rest, is_dns1123_subdomain, path)
    if len(signer) > _MAX_NAME:
        errors.append(too_long(path, _MAX_NAME))
    return errors


def is_kubernetes_signer(signer: str) -> bool:
    """Whether the project itself names the signer."""
    domain = signer.partition("/")[0]
    return domain == "kubernetes.io" or domain.endswith(".kubernetes.io")


def trust_bundle_name(name: str, signer: str) -> Messages:
    """What is wrong with the name of a ClusterTrustBundle of this signer, or of none."""
    if not signer:
        if ":" in name:
            return ('ClusterTrustBundle without signer name must not have ":" in its name',)
        return dns_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        text = f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
        return (text,)
    return dns_subdomain(name.removeprefix(prefix))


def _labels(text: str, problems: Callable[[str], Iterable[str]], path: str) -> list[FieldError]:
    """Errors of the first broken part between dots; more would tell nothing new."""
    for label in text.split("."):
        errors = [
            invalid_value(path, text, f'validating label "{label}": {problem}')
            for problem in problems(label)
        ]
        if errors:
            return errors
    return []
