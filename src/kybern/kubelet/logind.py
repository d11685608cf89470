"""systemd's logind as a kubelet needs it: a delay before the machine stops, and the news of it.

A delay lock is a file descriptor: as long as it is open, and no longer than logind's own limit, a
shutdown waits. A kubelet that dies thus holds up nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from io import FileIO
from pathlib import Path

from dbus_fast import Message
from dbus_fast.aio import MessageBus

from kybern.kubelet.message_bus import SYSTEMD, BusError, Peer, call, connect, heard, subscribe

CONFIGURATION = Path("/etc/systemd/logind.conf.d")
_FILE = "99-kubelet.conf"
_LOGIND = Peer(
    "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
)
_PROPERTIES = replace(_LOGIND, interface="org.freedesktop.DBus.Properties")
# How long logind may take to read its configuration anew, doubling between looks.
_FIRST_LOOK_SECONDS = 0.1
_LOOKS = 5


class Logind:
    """One connection to the system's message bus; made by :func:`open_logind`."""

    def __init__(self, bus: MessageBus, configuration: Path = CONFIGURATION) -> None:
        self._bus = bus
        self._configuration = configuration
        self._news: asyncio.Queue[bool | None] = asyncio.Queue(maxsize=16)

    async def watch(self) -> None:
        """Have the bus tell of shutdowns from now on."""
        self._bus.add_message_handler(self._hear)
        await subscribe(self._bus, _LOGIND, "PrepareForShutdown")

    def _hear(self, message: Message) -> None:
        news = heard(message, _LOGIND, "PrepareForShutdown", "b")
        if news is not None and not self._news.full():
            self._news.put_nowait(news[0])

    async def shutdowns(self) -> AsyncIterator[bool]:
        """True when the machine is about to stop, False when it goes on after all.

        Ends with the connection.
        """
        gone = asyncio.create_task(self._until_gone())
        try:
            while (news := await self._news.get()) is not None:
                yield news
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _until_gone(self) -> None:
        with contextlib.suppress(Exception):
            await self._bus.wait_for_disconnect()
        await self._news.put(None)

    async def delay(self) -> float:
        """The seconds that a shutdown waits for delay locks at most."""
        wanted = [_LOGIND.interface, "InhibitDelayMaxUSec"]
        answer = await call(self._bus, _PROPERTIES, "Get", "ss", wanted)
        return answer.body[0].value / 1_000_000

    async def raise_delay(self, seconds: float) -> None:
        """Make logind wait that long, if it does not yet; raises BusError where it will not."""
        if await self.delay() >= seconds:
            return
        try:
            await asyncio.to_thread(_configure, self._configuration, seconds)
        except OSError as error:
            raise BusError(
                f"unable to override inhibit delay by shutdown manager: {error}"
            ) from error
        unit = ["systemd-logind.service", "all", 1]
        await call(self._bus, SYSTEMD, "KillUnit", "ssi", unit)
        pause = _FIRST_LOOK_SECONDS
        for _ in range(_LOOKS):
            await asyncio.sleep(pause)
            pause *= 2
            found = await self.delay()
            if found >= seconds:
                return
        raise BusError(f"logind's InhibitDelayMaxSec stays {found:g} s, {seconds:g} s are needed")

    async def inhibit(self) -> FileIO:
        """A delay lock: a file to close when the machine may stop."""
        reason = "Kubelet needs time to handle node shutdown"
        wanted = ["shutdown", "kubelet", reason, "delay"]
        answer = await call(self._bus, _LOGIND, "Inhibit", "ssss", wanted)
        if not answer.unix_fds:
            raise BusError("logind gave no inhibitor lock")
        return FileIO(answer.unix_fds[answer.body[0]])


@contextlib.asynccontextmanager
async def open_logind(configuration: Path = CONFIGURATION) -> AsyncIterator[Logind]:
    """A connection to this machine's logind; BusError where it has no message bus."""
    bus = await connect()
    try:
        yield Logind(bus, configuration)
    finally:
        bus.disconnect()


def _configure(directory: Path, seconds: float) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = f"# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={seconds:.0f}\n"
    (directory / _FILE).write_text(text)
