"""Docker's files of logins: what Secrets hold, and what the node itself has.

``config.json`` maps places to logins below ``auths``; the older ``.dockercfg`` is that map alone.
"""

import asyncio
import base64
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from kybern.component.clock import Clock
from kybern.kubelet.images.credentials import Login, PullSecret

logger = logging.getLogger(__name__)

FRESH_SECONDS = 300.0

Logins = Mapping[str, Login]
_Parser = Callable[[bytes], Logins]


class NodeLogins:
    """The logins of the node's own files, which are for all pods; looked at every five minutes."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._logins: Logins = {}
        self._read = -FRESH_SECONDS

    async def get(self) -> Logins:
        """What the first file that can be used says."""
        now = self._clock.monotonic()
        if now - self._read >= FRESH_SECONDS:
            self._logins = await asyncio.to_thread(self._look)
            self._read = now
        return self._logins

    def _look(self) -> Logins:
        for file, parse in _files(self._root):
            try:
                return parse(file.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                logger.info("passing over %s: %s", file, error)
        return {}


def logins_of(secret: PullSecret) -> Logins:
    """The logins of a Secret; raises ValueError if it holds something else."""
    if content := secret.data.get(".dockerconfigjson"):
        return parse_config(content)
    if content := secret.data.get(".dockercfg"):
        return parse_dockercfg(content)
    return {}


def parse_config(content: bytes) -> Logins:
    """A ``config.json``; raises ValueError."""
    return _logins(_mapping(orjson.loads(content)).get("auths"))


def parse_dockercfg(content: bytes) -> Logins:
    """A ``.dockercfg``; raises ValueError."""
    return _logins(orjson.loads(content))


def _files(root: Path) -> Iterator[tuple[Path, _Parser]]:
    """Where upstream looks, in its order."""
    home, top = Path(os.environ.get("HOME", "")), Path("/")
    for directory in (root, Path(), home / ".docker", top / ".docker"):
        yield directory / "config.json", parse_config
    for directory in (root, Path(), home, top):
        yield directory / ".dockercfg", parse_dockercfg


def _logins(auths: Any) -> Logins:
    return {place: _login(_mapping(entry)) for place, entry in _mapping(auths).items()}


def _login(entry: Mapping[str, Any]) -> Login:
    username, password, email, auth = (
        _text(entry.get(name)) for name in ("username", "password", "email", "auth")
    )
    if auth:
        padded = auth.strip() if auth.strip().endswith("=") else auth + "=" * (-len(auth) % 4)
        username, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
        if not colon:
            raise ValueError("unable to parse auth field, must be base64(username:password)")
    return Login(username, password, email)


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not a configuration of Docker's")
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("not a configuration of Docker's")
    return value
