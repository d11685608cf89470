"""Streams of one direction as WebSockets: watches and logs for clients that ask for them so.

The verbs give :func:`answer` the messages; they go out until they end or the client leaves.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from kybern.component.http.messages import Request, Response
from kybern.component.http.websocket import Message, WebSocket, accept

# Gets the agreed subprotocol, empty if none.
Messages = Callable[[str], AsyncIterator[Message]]


def answer(request: Request, subprotocols: Sequence[str], messages: Messages) -> Response:
    """The 101 response whose WebSocket carries the messages; raises StatusError 400."""

    async def talk(socket: WebSocket) -> None:
        sending = asyncio.ensure_future(_send(socket, messages(socket.subprotocol)))
        leaving = asyncio.ensure_future(_left(socket))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    return accept(request, subprotocols, talk)


async def _send(socket: WebSocket, messages: AsyncIterator[Message]) -> None:
    async for message in messages:
        await socket.send(message)


async def _left(socket: WebSocket) -> None:
    """Wait until the client goes; what it sends means nothing."""
    while await socket.receive() is not None:
        pass
