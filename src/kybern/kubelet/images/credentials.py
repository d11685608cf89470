"""Registry credentials, and where they come from: a Secret, a service account, or the node.

Where they come from decides for whom an image is that was pulled with them (``records.py``). Pure.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

# What Go's JSON escapes and orjson does not.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


class Login(NamedTuple):
    """One user of a registry."""

    username: str
    password: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class PullSecret:
    """A Secret that a pod pulls with: which one it is, and what it holds."""

    namespace: str
    name: str
    uid: str
    data: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class PullAccount:
    """The service account for whose token a credential provider gave credentials."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login that fits an image; without ``source`` it is the node's own, for all its pods."""

    login: Login
    source: PullSecret | PullAccount | None = None

    def fingerprint(self) -> str:
        """The same for the same login; upstream's, which records on disk hold too."""
        told = {name: text for name, text in self.login._asdict().items() if text}
        return hashlib.sha256(orjson.dumps(told).decode().translate(_ESCAPES).encode()).hexdigest()
