"""Node ports: one bitmap in the store, changed by compare-and-swap.

Upstream keeps the same RangeAllocation under the same key: one number, whose lowest bit stands for
the first port of the range. Automatic choices are random and prefer
the upper part of the range, because people choose low ports themselves.
"""

import base64
from collections.abc import Iterable

import orjson

from kybern.apiserver.cache import read_value
from kybern.component.clock import Clock
from kybern.store.interface import Entry, RevisionMismatch, Store

KEY = "/registry/ranges/servicenodeports"
_TRIES = 64


class PortTaken(Exception):
    """The port cannot be allocated; the text says why."""


class NodePorts:
    """Takes and gives back ports of the range."""

    def __init__(self, ports: range, store: Store, clock: Clock) -> None:
        self._ports = ports
        self._store = store
        self._clock = clock

    @property
    def ports(self) -> range:
        """The ports that there are to take."""
        return self._ports

    async def take(self, port: int, dry_run: bool) -> None:
        """Take one port; raises PortTaken."""
        if port not in self._ports:
            raise PortTaken(
                "provided port is not in the valid range. The range of valid ports is "
                f"{self._ports[0]}-{self._ports[-1]}"
            )
        for _ in range(_TRIES):
            entry, taken = await self._read()
            if port in taken:
                raise PortTaken("provided port is already allocated")
            if dry_run or await self._write(entry, taken | {port}):
                return
        raise PortTaken("the allocation of ports is contended")

    async def take_any(self, dry_run: bool, besides: Iterable[int] = ()) -> int:
        """Take a free port; raises PortTaken. ``besides`` are those a dry run has taken."""
        for _ in range(_TRIES):
            entry, taken = await self._read()
            port = self._choice(taken.union(besides))
            if dry_run or await self._write(entry, taken | {port}):
                return port
        raise PortTaken("the allocation of ports is contended")

    async def release(self, ports: Iterable[int]) -> None:
        """Give ports back."""
        released = set(ports)
        for _ in range(_TRIES):
            entry, taken = await self._read()
            if not taken & released or await self._write(entry, taken - released):
                return

    async def taken(self) -> frozenset[int]:
        """The ports that are allocated now."""
        return (await self._read())[1]

    async def replace(self, expected: frozenset[int], wanted: frozenset[int]) -> bool:
        """Set the whole allocation; False if it is no longer what was expected."""
        entry, taken = await self._read()
        return taken == expected and (taken == wanted or await self._write(entry, wanted))

    def _choice(self, taken: Iterable[int]) -> int:
        size = len(self._ports)
        reserved = min(max(16, size // 32), 128) if size > 16 else 0
        excluded = set(taken)
        for band in (self._ports[reserved:], self._ports[:reserved]):
            free = [port for port in band if port not in excluded]
            if free:
                return self._clock.random.choice(free)
        raise PortTaken("range is full")

    async def _read(self) -> tuple[Entry | None, frozenset[int]]:
        entry = await self._store.get(KEY)
        if entry is None:
            return None, frozenset()
        stored = read_value(entry)
        first = int(stored["range"].partition("-")[0])
        bitmap = int.from_bytes(base64.b64decode(stored.get("data", "")))
        taken = []
        while bitmap:
            lowest = bitmap & -bitmap
            taken.append(first + lowest.bit_length() - 1)
            bitmap ^= lowest
        return entry, frozenset(taken)

    async def _write(self, entry: Entry | None, taken: frozenset[int]) -> bool:
        """Store the ports that are still in the range; False if another write came first."""
        first, last = self._ports[0], self._ports[-1]
        bitmap = sum(1 << (port - first) for port in taken if port in self._ports)
        size = (bitmap.bit_length() + 7) // 8
        payload = orjson.dumps(
            {
                "kind": "RangeAllocation",
                "apiVersion": "v1",
                "metadata": {},
                "range": f"{first}-{last}",
                "data": base64.b64encode(bitmap.to_bytes(size)).decode(),
            }
        )
        try:
            if entry is None:
                await self._store.create(KEY, payload)
            else:
                await self._store.update(KEY, payload, entry.mod_revision)
        except RevisionMismatch:
            return False
        return True
