"""Registry credentials out of image pull Secrets. Pure."""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import orjson

from kybern.kubelet.images.reference import DEFAULT_REGISTRY, registry

_DOCKER_HUB = ("index.docker.io", "registry-1.docker.io", DEFAULT_REGISTRY)


@dataclass(frozen=True, slots=True)
class PullSecret:
    """A Secret that a pod pulls with: which one it is, and what it holds."""

    namespace: str
    name: str
    uid: str
    data: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Credentials:
    """One user of one registry, as a Secret has it."""

    username: str
    password: str
    server: str
    secret: PullSecret

    def fingerprint(self) -> str:
        """The same for the same user, password and server."""
        parts = orjson.dumps([self.username, self.password, self.server])
        return hashlib.sha256(parts).hexdigest()


def credentials_for(image: str, secrets: Iterable[PullSecret]) -> list[Credentials]:
    """The credentials that fit an image, the most specific server first."""
    found = []
    for secret in secrets:
        for server, entry in _auths(secret.data):
            if _fits(server, image):
                username, password = _user(entry)
                found.append(Credentials(username, password, server, secret))
    return sorted(found, key=lambda c: len(c.server), reverse=True)


def _auths(data: Mapping[str, bytes]) -> Iterator[tuple[str, Any]]:
    try:
        if ".dockerconfigjson" in data:
            yield from (orjson.loads(data[".dockerconfigjson"]).get("auths") or {}).items()
        elif ".dockercfg" in data:
            yield from orjson.loads(data[".dockercfg"]).items()
    except (orjson.JSONDecodeError, AttributeError):
        # A Secret that holds something else is passed over; the pull then says what is missing.
        return


def _fits(server: str, image: str) -> bool:
    bare = server.removeprefix("https://").removeprefix("http://")
    host, _, path = bare.partition("/")
    wanted = registry(image)
    if host in _DOCKER_HUB and wanted in _DOCKER_HUB:
        return True
    if not fnmatchcase(wanted, host):
        return False
    path = path.removesuffix("/").removesuffix("/v1").removesuffix("/v2")
    path = "" if path in ("v1", "v2") else path
    return not path or image.startswith(f"{wanted}/{path}")


def _user(entry: Mapping[str, str]) -> tuple[str, str]:
    username, password = entry.get("username", ""), entry.get("password", "")
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
    return username, password
