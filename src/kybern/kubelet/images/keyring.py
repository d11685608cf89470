"""Finds the logins that fit an image by the places that they are written down for.

A place is a registry's host, where each part may be a glob, with its port and the beginning of a
path if need be: ``registry.example:5000/team``, ``*.registry.example``. Used for Secrets, for the
node's own configuration, and for what credential providers answer. Pure.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from kybern.kubelet.images.credentials import Credentials, Login, PullAccount, PullSecret
from kybern.kubelet.images.reference import DEFAULT_REGISTRY

# Where Docker itself writes the login of its default registry down.
_DEFAULT_PLACE = "index.docker.io"


class Keyring:
    """Logins by place."""

    def __init__(self) -> None:
        self._by_place: dict[str, list[Credentials]] = {}

    def add(
        self, logins: Mapping[str, Login], source: PullSecret | PullAccount | None = None
    ) -> None:
        """Take logins of one source; what came earlier is found first, at the same place."""
        for place, login in logins.items():
            self._by_place.setdefault(_bare(place), []).append(Credentials(login, source))

    def find(self, repository: str) -> list[Credentials]:
        """What fits an image without tag and digest, the longer one of two like places first."""
        places = sorted(self._by_place, reverse=True)
        found = [
            credentials
            for place in places
            if matches(place, repository)
            for credentials in self._by_place[place]
        ]
        if not found and repository.startswith(f"{DEFAULT_REGISTRY}/"):
            return list(self._by_place.get(_DEFAULT_PLACE, ()))
        return found


def matches(place: str, repository: str) -> bool:
    """Whether a place, whose host may have globs, is where an image comes from."""
    globs, port, path = _parts(place)
    parts, wanted_port, wanted_path = _parts(repository)
    return (
        port == wanted_port
        and len(globs) == len(parts)
        and wanted_path.startswith(path)
        and all(fnmatchcase(part, _glob(glob)) for part, glob in zip(parts, globs, strict=True))
    )


def _bare(place: str) -> str:
    """A place without what Docker writes around it: the scheme, the version of the protocol."""
    host, slash, rest = place.removeprefix("https://").removeprefix("http://").partition("/")
    path = slash + rest
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return host if path == "/" else host + path


def _parts(place: str) -> tuple[list[str], str, str]:
    """The parts of the host, the port, and the path."""
    authority, slash, path = place.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    # The brackets of an IPv6 address are no glob.
    return host.strip("[]").split("."), port, slash + path


def _glob(text: str) -> str:
    """Go's form of a glob as Python's."""
    return text.replace("[^", "[!")
