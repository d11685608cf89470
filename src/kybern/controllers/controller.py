"""The one shape of every controller: what I watch, how I reconcile one key.

A controller registers in ``__init__`` which changes concern it (``watch``) and brings one key to
its desired state in ``reconcile``. This module does the rest: informers, the keyed queue, workers,
retries with backoff. Reconcile is level-triggered and idempotent: it reads informers, writes only
differences, and may be called at any time. Who has written awaits ``caught_up`` before it decides
again, so no decision is made twice on one stale picture.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kybern.api.errors import Obj, StatusError
from kybern.api.objects import key as object_key
from kybern.api.resources import Resource
from kybern.client import ApiUnreachable, Client, EventRecorder, Informer, Informers, WorkQueue
from kybern.client.service_account import ServiceAccountTransport
from kybern.client.work_queue import ShutDown
from kybern.component.clock import Clock
from kybern.controllers.config import Config

logger = logging.getLogger(__name__)

KeyFunction = Callable[[Obj], Iterable[str]]


@dataclass
class Context:
    """What all controllers of a process share."""

    client: Client
    clock: Clock
    config: Config
    informers: Informers
    clients: dict[str, Client] = field(default_factory=dict)
    recorders: list[EventRecorder] = field(default_factory=list)

    def client_as(self, account: str) -> Client:
        """The client that writes as a controller's service account in kube-system."""
        if not account or not self.config.use_service_account_credentials:
            return self.client
        if account not in self.clients:
            transport = ServiceAccountTransport(self.client, "kube-system", account)
            agent = f"{self.client.user_agent}/{account}"
            self.clients[account] = Client(transport, self.clock, agent)
        return self.clients[account]

    def recorder(self, client: Client, component: str) -> EventRecorder:
        """A recorder that writes with ``client`` and signs as ``component``."""
        recorder = EventRecorder(client, self.clock, component)
        self.recorders.append(recorder)
        return recorder

    async def close(self) -> None:
        for recorder in self.recorders:
            await recorder.close()
        await self.informers.stop()
        for client in self.clients.values():
            await client.close()


class Controller(ABC):
    """One control loop.

    ``name`` is upstream's, as ``--controllers`` takes it; ``account`` is the service account that
    RBAC's bootstrap policy gives the controller its rights through; ``needs`` is a resource that
    not every API server serves, without which the controller does not run.
    """

    name: str
    account: str = ""
    needs: Resource | None = None
    workers = 5

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client_as(self.account)
        self.clock = context.clock
        self.queue = WorkQueue()

    def watch(self, resource: Resource, keys: KeyFunction | None = None) -> Informer:
        """The resource's informer; each change queues ``keys`` of the old and new object.

        Without ``keys`` the object's own key is queued.
        """
        informer = self.context.informers.informer(resource)
        find = keys or own_key

        def enqueue(old: Obj | None, new: Obj | None) -> None:
            for obj in (old, new):
                if obj is not None:
                    for key in find(obj):
                        self.queue.add(key)

        informer.on_change(enqueue)
        return informer

    def read(self, resource: Resource) -> Informer:
        """The resource's informer, for reading only."""
        return self.context.informers.informer(resource)

    @abstractmethod
    async def reconcile(self, key: str) -> float | None:
        """Bring one key to its desired state; returns seconds after which to look again."""

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(self._work(), name=self.name)
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                again = await self.reconcile(key)
            except (StatusError, ApiUnreachable) as error:
                self._retry(key, error)
            except Exception:
                logger.exception("%s: %s", self.name, key)
                self.queue.add_rate_limited(key)
            else:
                self.queue.forget(key)
                if again is not None:
                    self.queue.add_after(key, again)
            finally:
                self.queue.done(key)

    def _retry(self, key: str, error: Exception) -> None:
        """Conflicts are a controller's daily bread; other refusals are worth a line.

        In a namespace that is going away nothing can be made, and trying again does not help.
        """
        if isinstance(error, StatusError) and is_namespace_terminating(error):
            self.queue.forget(key)
            return
        expected = isinstance(error, StatusError) and error.code in (404, 409)
        level = logging.DEBUG if expected else logging.WARNING
        logger.log(level, "%s: %s: %s", self.name, key, error)
        self.queue.add_rate_limited(key)


def is_namespace_terminating(error: StatusError) -> bool:
    """Whether something could not be made because its namespace is being deleted."""
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def own_key(obj: Obj) -> tuple[str, ...]:
    """The object itself."""
    return (object_key(obj),)


def owner_key(kind: str) -> KeyFunction:
    """The controlling owner of ``kind``, in the object's namespace."""

    def find(obj: Obj) -> tuple[str, ...]:
        for reference in obj["metadata"].get("ownerReferences") or ():
            if reference.get("controller") and reference["kind"] == kind:
                return (f"{obj['metadata']['namespace']}/{reference['name']}",)
        return ()

    return find
