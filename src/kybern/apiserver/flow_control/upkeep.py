"""The tasks that keep priority and fairness in step with the stored objects.

The server starts them once it can write through itself. The objects that every cluster has are
maintained even where the limiter is switched off, as upstream does.
"""

import asyncio

from kybern.apiserver.flow_control import consumer, producer
from kybern.apiserver.flow_control.consumer import Consumer
from kybern.apiserver.flow_control.flow_control import FlowControl
from kybern.apiserver.flow_control.producer import Producer
from kybern.apiserver.lookup import Lookup
from kybern.apiserver.loopback import Loopback
from kybern.component.http.messages import Handler


class Upkeep:
    """The producer, and the consumer for ``control`` where there is one."""

    def __init__(self, control: FlowControl | None, lookup: Lookup, handler: Handler) -> None:
        self._parts: list[Producer | Consumer] = [
            Producer(lookup, Loopback(handler, producer.FIELD_MANAGER))
        ]
        if control is not None:
            loopback = Loopback(handler, consumer.FIELD_MANAGER)
            self._parts.append(Consumer(control, lookup, loopback))
        self._control = control
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make and take over what there is to be, then follow changes."""
        for part in self._parts:
            await part.once()
            self._tasks.append(asyncio.create_task(part.run(), name=type(part).__name__))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._control is not None:
            self._control.close()
