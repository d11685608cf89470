"""Finds plugins by their sockets in ``plugins_registry``, and tells those who can use them.

A plugin that starts puts a socket there and answers ``GetInfo``; the handler of its type takes it
or says why not, and the plugin is told. A socket that is gone, or another one in its place, ends
the registration. The directory is the only memory: a kubelet that starts asks all that are there.
"""

import asyncio
import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kybern.rpc import proto
from kybern.rpc.client import RpcError, Service, connect

logger = logging.getLogger(__name__)

protocol = proto.load("plugin_registration.proto")

LOOK_SECONDS = 1.0
RETRY_SECONDS = 5.0
CALL_SECONDS = 10.0


class PluginRefused(Exception):
    """The plugin cannot be used; it is told the text."""


class Handler(Protocol):
    """What uses one type of plugins."""

    async def register(self, name: str, endpoint: str, versions: list[str]) -> None:
        """Use the plugin from now on; raises PluginRefused."""
        ...

    async def deregister(self, name: str) -> None:
        """The plugin is gone."""
        ...


@dataclass(slots=True)
class _Seen:
    """A socket: what tells it from another one of the name, and what it registered."""

    identity: tuple[int, int]
    type: str = ""
    name: str = ""
    again: float = 0.0


class PluginRegistry:
    """One node's; ``handlers`` are filed under the type that plugins call themselves."""

    def __init__(self, directory: Path, handlers: Mapping[str, Handler]) -> None:
        self._directory = directory
        self._handlers = handlers
        self._seen: dict[Path, _Seen] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
        while True:
            await self._look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        found = await asyncio.to_thread(_sockets, self._directory)
        for path, seen in list(self._seen.items()):
            if found.get(path) != seen.identity:
                del self._seen[path]
                if seen.name:
                    logger.info("the plugin %s is gone", seen.name)
                    await self._handlers[seen.type].deregister(seen.name)
        now = asyncio.get_running_loop().time()
        for path, identity in found.items():
            seen = self._seen.setdefault(path, _Seen(identity))
            if not seen.name and now >= seen.again:
                seen.again = now + RETRY_SECONDS
                await self._register(path, seen)

    async def _register(self, path: Path, seen: _Seen) -> None:
        channel = connect(str(path))
        service = Service(channel, protocol, "Registration")
        try:
            info = await service.call("GetInfo", protocol.InfoRequest(), CALL_SECONDS)
            outcome = protocol.RegistrationStatus(plugin_registered=True)
            try:
                await self._hand_on(path, info)
                seen.type, seen.name = info.type, info.name
                logger.info("registered the plugin %s of type %s", info.name, info.type)
            except PluginRefused as error:
                logger.warning("plugin %s: %s", info.name, error)
                outcome = protocol.RegistrationStatus(error=str(error))
            await service.call("NotifyRegistrationStatus", outcome, CALL_SECONDS)
        except RpcError as error:
            # A socket is there before its server answers, and may stay after it has gone.
            logger.debug("plugin socket %s: %s", path, error)
        finally:
            await channel.close()

    async def _hand_on(self, path: Path, info: Any) -> None:
        handler = self._handlers.get(info.type)
        if handler is None:
            raise PluginRefused(f"no handler registered for plugin type: {info.type} at {path}")
        endpoint = info.endpoint or str(path)
        await handler.register(info.name, endpoint, list(info.supported_versions))


def _sockets(directory: Path) -> dict[Path, tuple[int, int]]:
    """The sockets below a directory, each with its inode and the time of its making."""
    found = {}
    for path in sorted(directory.rglob("*")):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            found[path] = (status.st_ino, status.st_ctime_ns)
    return found
