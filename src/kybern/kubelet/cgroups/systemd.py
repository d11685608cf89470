"""Cgroups that systemd makes and bounds: slices, asked for over the message bus.

What systemd is told it writes down, so a reload of its units, or its own next look at them, leaves
the bounds as they are. Slices are transient: they go when they are stopped, with all scopes below.
The files that are written beside this (``tree.py``) say the same at once, where systemd takes its
turn.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbus_fast import Message, Variant
from dbus_fast.aio import MessageBus

from kybern.kubelet.bounds import CPU_PERIOD, Limits, cpu_weight
from kybern.kubelet.message_bus import SYSTEMD, BusError, call, connect, heard, subscribe

# Where systemd is process 1 it has made this directory.
RUNNING = Path("/run/systemd/system")
JOB_SECONDS = 30.0
_ERRORS = "org.freedesktop.systemd1."
_UNLIMITED = 2**64 - 1
_SECOND = 1_000_000


@dataclass(slots=True)
class _Jobs:
    """What has become of the jobs of one unit while somebody waits for one of them."""

    unit: str
    ended: dict[str, str] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Slices:
    """systemd's slices, by the paths of their cgroups; every call may raise BusError.

    One connection, made anew where the bus has gone meanwhile.
    """

    def __init__(self) -> None:
        self._bus: MessageBus | None = None
        self._connecting = asyncio.Lock()
        self._watched: list[_Jobs] = []

    async def connect(self) -> MessageBus:
        """The connection to systemd; BusError where it cannot be asked."""
        async with self._connecting:
            if self._bus is None or not self._bus.connected:
                self._bus = await self._open()
            return self._bus

    async def _open(self) -> MessageBus:
        if not await asyncio.to_thread(RUNNING.is_dir):
            raise BusError("systemd not running on this host, cannot use systemd cgroups manager")
        bus = await connect()
        try:
            bus.add_message_handler(self._hear)
            await subscribe(bus, SYSTEMD, "JobRemoved")
            await call(bus, SYSTEMD, "Subscribe")
        except BusError:
            bus.disconnect()
            raise
        return bus

    def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    async def create(self, path: str, limits: Limits, max_processes: int) -> None:
        """Start a slice with its bounds; where it is there already, only its bounds are set."""
        unit, above = _unit(path), _unit(str(Path(path).parent))
        bounds = _bounds(limits)
        if max_processes > 0:
            bounds.append(["TasksMax", Variant("t", max_processes)])
        properties = [
            ["Description", Variant("s", "Kubernetes pods")],
            ["Wants", Variant("as", [above])],
            ["DefaultDependencies", Variant("b", False)],
            *(
                [f"{what}Accounting", Variant("b", True)]
                for what in ("CPU", "Memory", "IO", "Tasks")
            ),
            *bounds,
        ]
        try:
            arguments = [unit, "replace", properties, []]
            await self._job(unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", arguments)
        except BusError as error:
            if error.name != f"{_ERRORS}UnitExists":
                raise
            await self._set(unit, bounds)

    async def bound(self, path: str, limits: Limits) -> None:
        """Change a slice's bounds."""
        await self._set(_unit(path), _bounds(limits))

    async def _set(self, unit: str, properties: list[Any]) -> None:
        bus = await self.connect()
        # At run time only: a slice that ends leaves nothing for the next boot.
        await call(bus, SYSTEMD, "SetUnitProperties", "sba(sv)", [unit, True, properties])

    async def remove(self, path: str) -> None:
        """Stop a slice and all below it, and have systemd forget it; harmless if it is gone."""
        unit = _unit(path)
        try:
            await self._job(unit, "StopUnit", "ss", [unit, "replace"])
        except BusError as error:
            if error.name != f"{_ERRORS}NoSuchUnit":
                raise
        # One that has failed would be kept for people to see.
        with contextlib.suppress(BusError):
            await call(await self.connect(), SYSTEMD, "ResetFailedUnit", "s", [unit])

    async def _job(self, unit: str, member: str, signature: str, body: list[Any]) -> None:
        """Ask for a job, and wait until systemd has done it."""
        bus = await self.connect()
        with self._watching(unit) as jobs:
            job = (await call(bus, SYSTEMD, member, signature, body)).body[0]
            try:
                async with asyncio.timeout(JOB_SECONDS):
                    while job not in jobs.ended:
                        await jobs.news.wait()
                        jobs.news.clear()
            except TimeoutError:
                raise BusError(f"{member} of {unit}: not done in {JOB_SECONDS:g} s") from None
        if (result := jobs.ended[job]) != "done":
            raise BusError(f"{member} of {unit}: {result}")

    @contextlib.contextmanager
    def _watching(self, unit: str) -> Iterator[_Jobs]:
        jobs = _Jobs(unit)
        self._watched.append(jobs)
        try:
            yield jobs
        finally:
            self._watched.remove(jobs)

    def _hear(self, message: Message) -> None:
        """A job that ends may be told of before the answer that names it has been read."""
        if (news := heard(message, SYSTEMD, "JobRemoved", "uoss")) is not None:
            _, job, unit, result = news
            for jobs in self._watched:
                if jobs.unit == unit:
                    jobs.ended[job] = result
                    jobs.news.set()


def _unit(path: str) -> str:
    """The unit whose cgroup a path is; the root has one, too."""
    return Path(path).name or "-.slice"


def _bounds(limits: Limits) -> list[Any]:
    """Limits as properties of a unit; what is not limited is said to be so."""
    quota = _UNLIMITED if limits.quota is None else limits.quota * _SECOND // CPU_PERIOD
    memory = _UNLIMITED if limits.memory is None else limits.memory
    return [
        ["CPUWeight", Variant("t", cpu_weight(limits.shares))],
        ["CPUQuotaPerSecUSec", Variant("t", quota)],
        ["MemoryMax", Variant("t", memory)],
    ]
