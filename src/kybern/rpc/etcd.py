"""Calls on an etcd cluster: one member at a time, another one when that is gone.

``store/etcd.py`` asks through :class:`EtcdClient`. A call goes to the member that answered last. A
member that cannot be reached, or has lost its leader, is left for the next one, and what is safe to
ask again is asked again for a few seconds: every read, and writes that never left this process.
Whatever fails in the end is an :class:`EtcdError` in etcd's own words.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from kybern.rpc.client import Exchange, RpcError, Service, connect_network
from kybern.rpc.proto import load

proto = load("etcd.proto")

# etcd itself gives a request up after seven seconds.
CALL_SECONDS = 10.0

# For how long members that are away are asked again, and how often.
PATIENCE_SECONDS = 3.0
RETRY_SECONDS = 0.1

# A stream of a member that has lost its leader ends instead of standing still.
_REQUIRE_LEADER = (("hasleader", "true"),)

_OWN_WORDS = "etcdserver: "
_COMPACTED = _OWN_WORDS + "mvcc: required revision has been compacted"
_FUTURE = _OWN_WORDS + "mvcc: required revision is a future revision"
_LEASE_GONE = _OWN_WORDS + "requested lease not found"

# These say that the call was refused before any part of it was carried out.
_NOT_CARRIED_OUT = (_OWN_WORDS + "no leader", _OWN_WORDS + "not capable", "failed to connect")


class EtcdError(Exception):
    """A call failed; the text is etcd's, or tells why it could not be asked."""

    def __init__(self, cause: RpcError) -> None:
        own = cause.message.startswith(_OWN_WORDS)
        super().__init__(cause.message if own else str(cause))
        self.code = cause.code
        self.compacted = cause.message == _COMPACTED
        self.future = cause.message == _FUTURE
        self.lease_gone = cause.message == _LEASE_GONE
        self.timed_out = cause.code == "DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Tls:
    """The contents of PEM files; ``certificate`` and ``key`` are empty without client ones."""

    authorities: bytes
    certificate: bytes = b""
    key: bytes = b""


class _Member:
    """One member's services."""

    def __init__(self, url: str, tls: Tls | None) -> None:
        scheme, separator, address = url.rpartition("://")
        if separator and scheme not in ("http", "https"):
            raise ValueError(f"{url}: etcd is reached by http:// or https://")
        credentials = _credentials(tls) if scheme == "https" else None
        self._channel = connect_network(address.rstrip("/"), credentials)
        self.services = {name: Service(self._channel, proto, name) for name in proto.services}

    async def close(self) -> None:
        await self._channel.close()


def _credentials(tls: Tls | None) -> grpc.ChannelCredentials:
    if tls is None:
        return grpc.ssl_channel_credentials()
    return grpc.ssl_channel_credentials(
        tls.authorities or None, tls.key or None, tls.certificate or None
    )


class EtcdClient:
    """The members of one etcd cluster. Connects on first use; ``close`` it in the end."""

    def __init__(self, servers: Sequence[str], tls: Tls | None = None) -> None:
        assert servers, "an etcd cluster has a member"
        self._servers = tuple(servers)
        self._tls = tls
        self._members: dict[int, _Member] = {}
        self._current = 0

    async def call(
        self,
        service: str,
        method: str,
        request: Any,
        *,
        repeatable: bool,
        timeout: float = CALL_SECONDS,
    ) -> Any:
        """One call; raises EtcdError. ``repeatable`` where doing it twice is doing it once."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + PATIENCE_SECONDS
        while True:
            asked = self._current
            try:
                return await self._member().services[service].call(method, request, timeout)
            except RpcError as error:
                if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    self.leave(asked)
                again = error.code == "UNAVAILABLE" and (repeatable or _not_carried_out(error))
                if not again or loop.time() >= patient_until:
                    raise EtcdError(error) from None
            await asyncio.sleep(RETRY_SECONDS)

    def watch(self) -> tuple[int, Exchange]:
        """A watch call on the current member, and that member's number for :meth:`leave`."""
        exchange = self._member().services["Watch"].exchange("Watch", _REQUIRE_LEADER)
        return self._current, exchange

    def leave(self, member: int) -> None:
        """Ask another member from now on, unless somebody else has left this one already."""
        if member == self._current:
            self._current = (member + 1) % len(self._servers)

    async def close(self) -> None:
        members, self._members = self._members, {}
        for member in members.values():
            await member.close()

    def _member(self) -> _Member:
        member = self._members.get(self._current)
        if member is None:
            member = _Member(self._servers[self._current], self._tls)
            self._members[self._current] = member
        return member


def _not_carried_out(error: RpcError) -> bool:
    return error.message.startswith(_NOT_CARRIED_OUT)
