"""Which images on the node are for every pod, and which only for those who may pull them.

The policies of a KubeletConfiguration (``imagePullCredentialsVerificationPolicy``), as the question
that ``records.py`` asks before it looks for a pod's right to an image that is there. Pure.
"""

from collections.abc import Sequence

from kybern.kubelet.images.records import Policy
from kybern.kubelet.images.reference import name_only

NEVER = "NeverVerify"
PRELOADED = "NeverVerifyPreloadedImages"
ALLOWLISTED = "NeverVerifyAllowlistedImages"
ALWAYS = "AlwaysVerify"
POLICIES = (NEVER, PRELOADED, ALLOWLISTED, ALWAYS)
_EVERYTHING_BELOW = "/*"


def make_policy(policy: str, allowlist: Sequence[str]) -> Policy:
    """The policy of that name; raises ValueError for lists that have no meaning."""
    if allowlist and policy != ALLOWLISTED:
        raise ValueError(
            "invalid configuration: can't set `preloadedImagesVerificationAllowlist` if "
            f'`imagePullCredentialsVertificationPolicy` is not "{ALLOWLISTED}"'
        )
    patterns = [_pattern(one) for one in allowlist]
    if policy == PRELOADED:
        return lambda image, pulled_by_kubelet: pulled_by_kubelet
    if policy == ALLOWLISTED:
        return lambda image, pulled_by_kubelet: not _listed(name_only(image), patterns)
    return lambda image, pulled_by_kubelet: policy == ALWAYS


def _listed(name: str, patterns: Sequence[str]) -> bool:
    """A pattern that ends with a slash stands for all below it."""
    return any(name.startswith(one) if one.endswith("/") else name == one for one in patterns)


def _pattern(text: str) -> str:
    pattern = text.removesuffix("*") if text.endswith(_EVERYTHING_BELOW) else text
    why = ""
    if text != text.strip():
        why = f"leading/trailing spaces are not allowed: {text}"
    elif not pattern:
        why = f"the supplied pattern is too short: {text}"
    elif "*" in pattern:
        why = f"not a valid wildcard pattern, only patterns ending with '/*' are allowed: {text}"
    elif pattern == "/":
        why = "at least registry hostname is required"
    elif pattern == text and name_only(text) != text:
        why = f"neither tag nor digest is accepted in an image reference: {text}"
    if why:
        raise ValueError(
            "invalid configuration: invalid image pattern in "
            f"`preloadedImagesVerificationAllowlist`: {why}"
        )
    return pattern
