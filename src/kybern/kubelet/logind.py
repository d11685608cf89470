"""systemd's logind as a kubelet needs it: a delay before the machine stops, and the news of it.

A delay lock is a file descriptor: as long as it is open, and no longer than logind's own limit, a
shutdown waits. A kubelet that dies thus holds up nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path
from typing import Any

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

CONFIGURATION = Path("/etc/systemd/logind.conf.d")
_FILE = "99-kubelet.conf"
_NAME, _PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
_MANAGER = "org.freedesktop.login1.Manager"
_SIGNAL = "PrepareForShutdown"
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
_CALL_SECONDS = 25.0
# How long logind may take to read its configuration anew, doubling between looks.
_FIRST_LOOK_SECONDS = 0.1
_LOOKS = 5


class LogindError(Exception):
    """logind is not there, or does not do what was asked; the text says what."""


class Logind:
    """One connection to the system's message bus; made by :func:`open_logind`."""

    def __init__(self, bus: MessageBus, configuration: Path = CONFIGURATION) -> None:
        self._bus = bus
        self._configuration = configuration
        self._news: asyncio.Queue[bool | None] = asyncio.Queue(maxsize=16)

    async def watch(self) -> None:
        """Have the bus tell of shutdowns from now on."""
        self._bus.add_message_handler(self._hear)
        rule = f"type='signal',interface='{_MANAGER}',member='{_SIGNAL}',path='{_PATH}'"
        await self._call(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch",
            "s", [rule],
        )  # fmt: skip

    def _hear(self, message: Message) -> bool | None:
        if (
            message.message_type is MessageType.SIGNAL
            and (message.interface, message.member) == (_MANAGER, _SIGNAL)
            and message.signature == "b"
            and not self._news.full()
        ):
            self._news.put_nowait(message.body[0])
        return None

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
        answer = await self._call(
            _NAME, _PATH, "org.freedesktop.DBus.Properties", "Get",
            "ss", [_MANAGER, "InhibitDelayMaxUSec"],
        )  # fmt: skip
        return answer.body[0].value / 1_000_000

    async def raise_delay(self, seconds: float) -> None:
        """Make logind wait that long, if it does not yet; raises LogindError where it will not."""
        if await self.delay() >= seconds:
            return
        try:
            await asyncio.to_thread(_configure, self._configuration, seconds)
        except OSError as error:
            raise LogindError(
                f"unable to override inhibit delay by shutdown manager: {error}"
            ) from error
        await self._call(
            *_SYSTEMD, "org.freedesktop.systemd1.Manager", "KillUnit",
            "ssi", ["systemd-logind.service", "all", 1],
        )  # fmt: skip
        pause = _FIRST_LOOK_SECONDS
        for _ in range(_LOOKS):
            await asyncio.sleep(pause)
            pause *= 2
            found = await self.delay()
            if found >= seconds:
                return
        raise LogindError(
            f"logind's InhibitDelayMaxSec stays {found:g} s, {seconds:g} s are needed"
        )

    async def inhibit(self) -> FileIO:
        """A delay lock: a file to close when the machine may stop."""
        answer = await self._call(
            _NAME, _PATH, _MANAGER, "Inhibit",
            "ssss", ["shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay"],
        )  # fmt: skip
        if not answer.unix_fds:
            raise LogindError("logind gave no inhibitor lock")
        return FileIO(answer.unix_fds[answer.body[0]])

    async def _call(
        self, name: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> Message:
        message = Message(
            destination=name, path=path, interface=interface, member=member,
            signature=signature, body=body,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                answer = await self._bus.call(message)
        except (TimeoutError, OSError, EOFError, DBusFastError) as error:
            raise LogindError(f"{member}: {error or 'no answer'}") from error
        if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
            problem = answer.body[0] if answer is not None and answer.body else "no answer"
            raise LogindError(f"{member}: {problem}")
        return answer


@contextlib.asynccontextmanager
async def open_logind(configuration: Path = CONFIGURATION) -> AsyncIterator[Logind]:
    """A connection to this machine's logind; LogindError where it has no message bus."""
    try:
        async with asyncio.timeout(_CALL_SECONDS):
            bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    except (TimeoutError, OSError, EOFError, DBusFastError) as error:
        raise LogindError(f"no system message bus: {error}") from error
    try:
        yield Logind(bus, configuration)
    finally:
        bus.disconnect()


def _configure(directory: Path, seconds: float) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    text = f"# Kubelet logind override\n[Login]\nInhibitDelayMaxSec={seconds:.0f}\n"
    (directory / _FILE).write_text(text)
