"""The system's message bus (D-Bus), over which systemd and its logind are asked.

Loaded where somebody asks: most nodes have no use for it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

CALL_SECONDS = 25.0


class BusError(OSError):
    """The bus is not there, or who was asked refuses; ``name`` is D-Bus's for the refusal."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is asked: a name on the bus, an object of it and one of the object's interfaces."""

    name: str
    path: str
    interface: str


BUS = Peer("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
SYSTEMD = Peer(
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)


async def connect() -> MessageBus:
    """A connection to the system's bus; raises BusError where there is none."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    except (TimeoutError, OSError, EOFError, DBusFastError) as error:
        raise BusError(f"no system message bus: {error}") from error


async def call(
    bus: MessageBus, peer: Peer, member: str, signature: str = "", body: Sequence[Any] = ()
) -> Message:
    """Call a method; raises BusError where it fails or nobody answers."""
    message = Message(
        destination=peer.name, path=peer.path, interface=peer.interface, member=member,
        signature=signature, body=list(body),
    )  # fmt: skip
    try:
        async with asyncio.timeout(CALL_SECONDS):
            answer = await bus.call(message)
    except (TimeoutError, OSError, EOFError, DBusFastError) as error:
        raise BusError(f"{member}: {error or 'no answer'}") from error
    if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
        problem = answer.body[0] if answer is not None and answer.body else "no answer"
        raise BusError(f"{member}: {problem}", (answer and answer.error_name) or "")
    return answer


async def subscribe(bus: MessageBus, peer: Peer, member: str) -> None:
    """Have the bus hand on a signal from now on; the caller adds the handler."""
    rule = f"type='signal',interface='{peer.interface}',member='{member}',path='{peer.path}'"
    await call(bus, BUS, "AddMatch", "s", [rule])


def heard(message: Message, peer: Peer, member: str, signature: str) -> list[Any] | None:
    """What a signal says; None if the message is something else."""
    if (
        message.message_type is MessageType.SIGNAL
        and (message.interface, message.member) == (peer.interface, member)
        and message.signature == signature
    ):
        return list(message.body)
    return None
