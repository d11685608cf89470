"""Bootstrap tokens: Secrets of kube-system by which a machine joins that nobody knows yet.

Authentication lets their holders in, the token cleaner deletes those whose time is over, and the
bootstrap signer vouches with them for the public cluster information; all read them here.
"""

import base64
import binascii
import re

from kybern.api.errors import Obj

SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
SECRET_PREFIX = "bootstrap-token-"
USER_PREFIX = "system:bootstrap:"
DEFAULT_GROUP = "system:bootstrappers"
TOKEN_ID, TOKEN_SECRET, EXPIRATION = "token-id", "token-secret", "expiration"
USED_FOR_AUTHENTICATION = "usage-bootstrap-authentication"
USED_FOR_SIGNING = "usage-bootstrap-signing"
_EXTRA_GROUPS = "auth-extra-groups"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


def parse_token(token: str) -> tuple[str, str] | None:
    """The public and the secret part; None for a token of another kind."""
    match = _TOKEN.fullmatch(token)
    return (match[1], match[2]) if match else None


def value(secret: Obj, key: str) -> str:
    """An entry of the Secret's data; empty where there is none, or none that is text."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def groups(secret: Obj) -> tuple[str, ...] | None:
    """The groups of the token's user, sorted; None if one of them has a forbidden name."""
    listed = value(secret, _EXTRA_GROUPS)
    extra = listed.split(",") if listed else []
    if not all(_GROUP.fullmatch(group) for group in extra):
        return None
    return tuple(sorted({DEFAULT_GROUP, *extra}))
